--- Sets some members of an object, all or none, if the document is there.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, then a patch (an object of members that a merge sets as they are), or
--         nothing, count and for each: path of the member, value
-- RETURNS {"" and nothing else}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_document"

return run(document_family, "document.update")
