-- One operation as a script of its own.
-- KEYS: the document, then the lock keys. ARGV: ttl, number of locks, their fencing numbers, path, what the operation takes.
--- @include "lib/prelude"
--- @include "lib/ttl"
--- @include "lib/fence"

-- family(name, key, path) checks the operation of that name completely and returns the function that carries it out.
local function run(family, name)
  local key, ttl = KEYS[1], take()
  local held, code, detail = check_locks(2)
  if not held then return fail(code, detail) end
  local path = take()
  alone = true
  local apply
  apply, code, detail = family(name, key, path)
  if not apply then return fail(code, detail) end
  local truth, extra = apply()
  expire(key, ttl)
  return { truth or read(key, path), extra or false }
end
