"""Who is told what happened: logs, metrics, status. They influence nothing."""
