"""What `helm test` asks: console and gateway answer, and the gateway lets nobody in without a token."""

import os
import sys
import urllib.error
import urllib.request


def status(url: str) -> int:
    """The HTTP status of an answer; 0 where there is none."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError as error:
        print(f"{url}: {error}")
        return 0


def main() -> int:
    """0 where all is as it should be."""
    console, gateway = os.environ["CONSOLE"], os.environ["GATEWAY"]
    expected = {f"{console}/readyz": 200, f"{gateway}/readyz": 200, f"{gateway}/v1/models": 401}
    found = {url: status(url) for url in expected}
    for url, code in found.items():
        print(f"{url}: {code}, {'as it should be' if code == expected[url] else f'not {expected[url]}'}")
    return int(found != expected)


sys.exit(main())
