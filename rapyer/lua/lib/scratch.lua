-- What a call needs that has keys for its own use: a copy of each document, put aside before anything of it is written that
-- a later operation may still refuse, and work keys for members that RedisJSON cannot write to.
--- @include "lib/prelude"
--- @include "lib/json_text"

-- documents: tables with the key and, where it has any, its own keys: backup and work, one for each name on a path that
-- cannot be written to.
local function make_scratch(documents)
  -- depth: how many work keys are in use.
  local scratch = { depth = 0, work_keys = {} }

  -- A patch removes what it calls null: splices write this, and the objects they wrote it to are written whole
  -- afterwards, once for all splices, before anybody may see them.
  scratch.MARK = '"\\u0001rapyer null\\u0001"'
  scratch.marked = {}

  function scratch.unmarked(text)
    return (string.gsub(text, scratch.MARK, "null"))
  end

  -- Writes the objects that a path leads to or through; all if there is none.
  function scratch.finish(key, path)
    for id, object in pairs(scratch.marked) do
      local least = path and math.min(#path, #object.path)
      if not path or (key == object.key and string.sub(path, 1, least) == string.sub(object.path, 1, least)) then
        local text = scratch.unmarked(read(object.key, object.path))
        redis.call("JSON.SET", object.key, object.path, (make_json_text().readable(text)))
        scratch.marked[id] = nil
      end
    end
  end

  function scratch.put_aside(document)
    if document.saved then return end
    document.saved = redis.call("COPY", document.key, document.backup, "REPLACE") == 1 and "copy" or "nothing"
  end

  function scratch.clean_up()
    for _, document in pairs(documents) do
      if document.saved == "copy" then redis.call("DEL", document.backup) end
      if document.backup then
        for _, work in ipairs(scratch.work_keys[document.key]) do redis.call("DEL", work) end
      end
    end
  end

  function scratch.bring_back()
    for _, document in pairs(documents) do
      if document.saved == "copy" then redis.call("RENAME", document.backup, document.key) end
      if document.saved == "nothing" then redis.call("DEL", document.key) end
      document.saved = nil
    end
    scratch.clean_up()
  end

  return scratch
end
