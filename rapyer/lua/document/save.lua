--- Writes the whole document, new or not.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, value
-- RETURNS {"" and nothing else}
-- ERRORS  LOCK_LOST WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_document"

return run(document_family, "document.save")
