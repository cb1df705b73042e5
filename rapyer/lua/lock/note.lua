--- Notes on a lock that is held how many of a caller's tasks wait for it, for people who look.
--
-- KEYS    lock
-- ARGV    channel of the caller, how many wait
-- RETURNS 1, or 0 where nobody holds the lock
-- ERRORS  -
-- FLAGS   repeatable allow-oom
--- @include "lib/prelude"

local lock, field, waiting = KEYS[1], "waits:" .. take(), take()
if redis.call("HEXISTS", lock, "owner") == 0 then return 0 end
if waiting == "0" then redis.call("HDEL", lock, field) else redis.call("HSET", lock, field, waiting) end
return 1
