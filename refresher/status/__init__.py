"""The status of a daemon as a document, a table and a page; whether its engine makes progress."""
