-- Words every script is made of: the cursor over ARGV, refusals, and reading a path as opaque text.
-- A function that refuses returns nil, a code of rapyer.errors and a detail; nothing is written before that.
--
-- A script runs from its first line to its last at every call, and each function that it makes on the way costs a tenth
-- of a microsecond or more. So functions are few, and what is seldom needed is made inside the branch that needs it.

local position, words = 0, ARGV

-- Whether the call is a single operation. Then the first command of some operations is their check, too: one that Redis
-- does not carry out has written nothing, and what it lacked is looked for only then.
local alone = false

local function take()
  position = position + 1
  return words[position]
end

-- index: which operation of the call was refused, so that the caller can name its key and path.
local function fail(code, detail, index)
  return redis.error_reply(string.format("RAPYER_%s %d %s", code, index or 0, detail or "-"))
end

-- The reply of a JSON command, or a refusal when the key holds something else.
local function checked(key, reply)
  if not reply then return nil, "KEY_NOT_FOUND" end
  if type(reply) == "table" and reply.err then
    if string.find(reply.err, "Unknown", 1, true) then return error(reply.err) end -- the server has no RedisJSON
    local kind = redis.call("TYPE", key).ok
    if kind == "none" then return nil, "KEY_NOT_FOUND" end
    if kind ~= "ReJSON-RL" then return nil, "WRONG_TYPE", kind end
    return error(reply.err)
  end
  return reply
end

-- The JSON text of the value at a path.
local function read(key, path)
  local reply, code, detail = checked(key, redis.pcall("JSON.GET", key, path))
  if not reply then return nil, code, detail end
  if reply == "[]" then return nil, "PATH_NOT_FOUND" end
  return string.sub(reply, 2, -2)
end

-- The kind of the value at a path: object, array, string, integer, number, boolean or null. Refuses unless it is the one
-- that is wanted, if any is.
local function kind_at(key, path, wanted)
  local reply, code, detail = checked(key, redis.pcall("JSON.TYPE", key, path))
  if not reply then return nil, code, detail end
  local kind = reply[1]
  if not kind then return nil, "PATH_NOT_FOUND" end
  if wanted and kind ~= wanted then return nil, "WRONG_TYPE", kind end
  return kind
end

-- A JSON value from ARGV: its text, and what makes it exact afterwards, if anything has to: for each double that
-- RedisJSON cannot parse exactly its path below the value, and the amount to add.
local function take_value()
  local text, count = take(), take()
  if count == "0" then return text end
  local repairs = {}
  for i = 1, tonumber(count) do repairs[i] = { take(), take() } end
  return text, repairs
end

local function repair(key, path, repairs)
  if not repairs then return end
  for _, fix in ipairs(repairs) do redis.call("JSON.NUMINCRBY", key, path .. fix[1], fix[2]) end
end
