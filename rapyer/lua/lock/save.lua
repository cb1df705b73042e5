--- Writes what a lock's holder changed, all or none, then gives the lock back and hands it to the next.
--
-- The changes are of different places, none inside another, so all are checked before any is written.
--
-- KEYS    document, lock, other locks that the holder has on it..., queue
-- ARGV    ttl, locks, fencing numbers..., count, then for each change: "value.set" or "map.pop", path, what the operation takes; then what
--         lock.release hands on with: channel, and perhaps token, lease in milliseconds, ttl, info
-- RETURNS {1, {token, fencing number, document as JSON text} of the caller's waiter who holds the lock now or nothing}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE INDEX
-- FLAGS   -
--- @include "lib/fence"
--- @include "lib/ttl"
--- @include "lib/members"
--- @include "lib/pass_on"

local document, ttl = KEYS[1], take()
local held, code, detail = check_locks(2)
if not held then return fail(code, detail) end
local writes, count = {}, tonumber(take())
alone = count == 1
for i = 1, count do
  local write_it, its_code, why
  if take() == "value.set" then
    write_it, its_code, why = set_member(document, take(), "")
  else
    --- @include "lib/ops_map"
    write_it, its_code, why = map_family("map.pop", document, take())
  end
  if not write_it then return fail(its_code, why, i - 1) end
  writes[i] = write_it
end
for _, write_it in ipairs(writes) do write_it() end
expire(document, ttl)
-- The third word is the number with which this lock is held: check_locks saw to it.
return { 1, pass_on(document, KEYS[2], KEYS[#KEYS], ARGV[3]) }
