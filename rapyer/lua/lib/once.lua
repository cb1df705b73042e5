-- Exactly once: the answer of an operation is kept, and a repetition gets it instead of running again.
-- Around the body of a script, as its variant for models that want this: plain calls never see it.
-- KEYS: as in the plain script, then the record. ARGV: as there, then the place in the record, the operation's id, and
-- milliseconds until the record expires. What the place held before, its client knows already.
-- A refusal is not kept: nothing was written, and the repetition is judged anew; those of single callers in an answer for
-- several are part of it. A repetition sets the expiry again: as
-- a write, it makes a WAIT behind it wait for what the first one wrote.

local function once(operation)
  local record = table.remove(KEYS)
  local milliseconds, id, place = table.remove(ARGV), table.remove(ARGV), table.remove(ARGV)
  local known = redis.call("HGET", record, place)
  if known and string.sub(known, 1, #id) == id then
    redis.call("PEXPIRE", record, milliseconds)
    return cmsgpack.unpack(string.sub(known, #id + 1))
  end
  local reply = operation()
  if type(reply) == "table" and reply.err then return reply end
  redis.call("HSET", record, place, id .. cmsgpack.pack(reply))
  if not known then redis.call("PEXPIRE", record, milliseconds) end
  return reply
end
