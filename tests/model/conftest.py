"""What tests of the public surface need to look past it."""

import json

import pytest


@pytest.fixture
def stored(client):
    """Read a document, or a part of it, as plain JSON."""

    async def read(key, path="$"):
        reply = await client.execute_command("JSON.GET", key, path)
        return None if reply is None else json.loads(reply)[0]

    return read


@pytest.fixture
def write(client):
    """Change a document as another program would."""

    async def put(key, path, value):
        await client.execute_command("JSON.SET", key, path, json.dumps(value))

    return put
