-- Keys for the use of one call alone, and what is left to do in documents before anybody may see them.
--- @include "lib/prelude"
--- @include "lib/json_text"

-- work_keys[key]: one for each name on a path that RedisJSON cannot write to; depth: how many of them are in use.
local work_keys, depth = {}, 0

-- A patch removes what it calls null: splices write this, and the objects they wrote it to are written whole afterwards,
-- once for all splices.
local MARK = '"\\u0001rapyer null\\u0001"'
local marked = {}

local function unmarked(text)
  return (string.gsub(text, MARK, "null"))
end

-- Writes the objects that a path leads to or through; all if there is none.
local function finish(key, path)
  for id, object in pairs(marked) do
    local least = path and math.min(#path, #object.path)
    if not path or (key == object.key and string.sub(path, 1, least) == string.sub(object.path, 1, least)) then
      local text = unmarked(read(object.key, object.path))
      redis.call("JSON.SET", object.key, object.path, (make_json_text().readable(text)))
      marked[id] = nil
    end
  end
end
