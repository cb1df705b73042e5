-- Words every script is made of: the cursor over ARGV, refusals, and reading a path as opaque text.
-- A function that refuses returns nil, a code of rapyer.errors and a detail; nothing is written before that.

local position = 0

-- Whether the call is a single operation. Then the first command of some operations is their check, too: one that Redis
-- does not carry out has written nothing, and what it lacked is looked for only then.
local alone = false

local function succeeds(...)
  local reply = redis.pcall(...)
  return reply and (reply.ok or reply[1]) and true or false
end

-- families.list(name, key, path) checks the operation of that name completely and returns the function that carries it
-- out. A family is one function because a script runs from its first line to its last at every call, and each function
-- that is made on the way costs a tenth of a microsecond.
local families = {}

local function check(name, key, path)
  return families[string.match(name, "^%a+")](name, key, path)
end

local function take()
  position = position + 1
  return ARGV[position]
end

local function take_number()
  return tonumber(take())
end

-- index: which operation of the call was refused, so that the caller can name its key and path.
local function fail(code, detail, index)
  return redis.error_reply(string.format("RAPYER_%s %d %s", code, index or 0, detail or "-"))
end

local function kind_of_text(text)
  local first = string.sub(text, 1, 1)
  if first == '"' then return "string" end
  if first == "{" then return "object" end
  if first == "[" then return "array" end
  if first == "n" then return "null" end
  if first == "t" or first == "f" then return "boolean" end
  return string.find(text, "[.eE]") and "number" or "integer"
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

-- The kind of the value at a path: object, array, string, integer, number, boolean or null.
local function kind_at(key, path)
  local reply, code, detail = checked(key, redis.pcall("JSON.TYPE", key, path))
  if not reply then return nil, code, detail end
  if not reply[1] then return nil, "PATH_NOT_FOUND" end
  return reply[1]
end

-- Refuses unless the value at a path is of that kind.
local function expect(key, path, wanted)
  local kind, code, detail = kind_at(key, path)
  if not kind then return nil, code, detail end
  if kind ~= wanted then return nil, "WRONG_TYPE", kind end
  return kind
end

-- A JSON value from ARGV: its text, then how many of its doubles RedisJSON cannot parse exactly, each with its
-- path below the value and the amount that makes it exact once added.
local function take_value()
  local value, repairs = { text = take() }, take()
  if repairs ~= "0" then
    for i = 1, tonumber(repairs) do value[i] = { take(), take() } end
  end
  return value
end

local function repair(key, path, value)
  for _, fix in ipairs(value) do
    redis.call("JSON.NUMINCRBY", key, path .. fix[1], fix[2])
  end
end

local function write(key, path, value)
  redis.call("JSON.SET", key, path, value.text)
  repair(key, path, value)
end
