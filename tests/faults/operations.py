"""The five operations of the matrix, and what each may answer and leave behind."""

from __future__ import annotations


async def operate(scene):
    """Do what the cell is about, and return the answer."""
    key = scene.key
    match scene.operation:
        case "get":
            return await scene.call("get", key)
        case "get_many":
            return await scene.call("get_many", [*scene.keys, scene.absent])
        case "set":
            return await scene.call("set", key, scene.new(key))
        case "delete":
            return await scene.call("delete", key)
    return await scene.call("get_or_set", key, scene.face.factory(lambda: scene.computed(key)))


def allowed(scene, answer):
    """Whether the answer is right or nothing: never a wrong value."""
    key = scene.key
    match scene.operation:
        case "get":
            return answer in (None, scene.stored(key))
        case "get_many":
            return all(found == scene.stored(key) for key, found in answer.items() if key != scene.absent) and (
                set(answer) <= set(scene.keys)
            )
        case "set":
            return answer is None
        case "delete":
            return answer in (True, False)
    return answer in (scene.stored(key), scene.computed(key))


def complete(scene, answer):
    """Whether the answer is what a healthy store gives."""
    key = scene.key
    match scene.operation:
        case "get":
            return answer == scene.stored(key)
        case "get_many":
            return answer == {key: scene.stored(key) for key in scene.keys}
        case "get_or_set":
            return answer == scene.stored(key)
    return allowed(scene, answer)


def left(scene):
    """What the key may hold afterwards."""
    key = scene.key
    return {
        "set": (None, scene.new(key)),
        "delete": (None,),
        "get_or_set": (None, scene.stored(key), scene.computed(key)),
    }.get(scene.operation, (None, scene.stored(key)))
