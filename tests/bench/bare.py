"""The simplest script without this project: mint one token, write it. The reference for start-up."""

import sys

import requests

key_file, token_file, url = sys.argv[1:]
with open(key_file, encoding="ascii") as file:
    key = file.read().strip()
answer = requests.post(
    f"{url}/v1/keys/accesstoken",
    json={"expiry_seconds": 3600},
    headers={"Authorization": f"Bearer {key}"},
    timeout=10,
)
answer.raise_for_status()
with open(token_file, "w", encoding="ascii") as file:
    file.write(answer.json()["data"]["access_token"])
