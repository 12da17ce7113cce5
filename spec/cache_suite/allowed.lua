-- What of http-cache-tests is not for this cache, and which of its tests may
-- fail, each with the reason.

local allowed = { excluded = {}, failures = {} }

local function list(target, reason, ids)
  for id in ids:gmatch("%S+") do
    target[id] = reason
  end
end

list(allowed.excluded, "is about caches that many users share", [[
  freshness-s-maxage-shared
  freshness-max-age-s-maxage-shared-longer
  freshness-max-age-s-maxage-shared-longer-reversed
  freshness-max-age-s-maxage-shared-longer-multiple
  freshness-max-age-s-maxage-shared-shorter
  freshness-max-age-s-maxage-shared-shorter-expires
  cc-resp-private-shared
  other-authorization
  other-authorization-public
  other-authorization-must-revalidate
  other-authorization-smaxage
]])

list(allowed.excluded, "a conditional request of the script's own passes by"
  .. " the cache, as with fetch", [[
  conditional-lm-fresh
  conditional-lm-fresh-earlier
  conditional-lm-stale
  conditional-lm-fresh-no-lm
  conditional-lm-fresh-rfc850
  conditional-etag-strong-respond
  conditional-304-etag
  conditional-etag-precedence
  conditional-etag-strong-respond-obs-text
  conditional-etag-quoted-respond-unquoted
  conditional-etag-unquoted-respond-unquoted
  conditional-etag-unquoted-respond-quoted
  conditional-etag-weak-respond
  conditional-etag-weak-respond-lowercase
  conditional-etag-weak-respond-backslash
  conditional-etag-weak-respond-omit-slash
  conditional-etag-strong-respond-multiple-first
  conditional-etag-strong-respond-multiple-second
  conditional-etag-strong-respond-multiple-last
]])

list(allowed.failures, "a request for a part passes by the cache, which stores"
  .. " whole answers", [[
  partial-store-partial-reuse-partial
  partial-store-complete-reuse-partial
  partial-store-complete-reuse-partial-no-last
  partial-store-complete-reuse-partial-suffix
  partial-store-partial-reuse-partial-byterange
  partial-store-partial-reuse-partial-absent
  partial-store-partial-reuse-partial-suffix
  partial-store-partial-complete
  partial-use-headers
]])

list(allowed.failures, "answers to GET alone are stored, as with fetch", [[
  method-POST
]])

list(allowed.failures, "the mode no-cache always validates, as with fetch", [[
  cc-resp-immutable-fresh
]])

list(allowed.excluded, "net.request has no methods that HTTP does not name", [[
  invalidate-M-SEARCH
  invalidate-M-SEARCH-cl
  invalidate-M-SEARCH-failed
]])

list(allowed.excluded, "an answer in a coding that nobody knows is an error,"
  .. " before any cache sees it", [[
  headers-store-Content-Encoding
  headers-store-Transfer-Encoding
  304-etag-update-response-Content-Encoding
]])

return allowed
