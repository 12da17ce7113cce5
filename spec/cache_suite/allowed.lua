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

list(allowed.failures, "without stale-if-error an error is told, so there is"
  .. " nothing that these could forbid; more-error-* show that they do", [[
  stale-close-must-revalidate
  stale-close-proxy-revalidate
  stale-close-no-cache
  stale-close-s-maxage=2
]])

list(allowed.failures, "answers to GET alone are stored, as with fetch", [[
  method-POST
]])

list(allowed.failures, "of several values Age has the first, and what is no"
  .. " number is ignored: RFC 9111 5.1; the suite follows a draft", [[
  age-parse-nonnumeric
  age-parse-negative
  age-parse-float
  age-parse-prefix-twoline
  age-parse-dup-0
  age-parse-dup-0-twoline
  age-parse-dup-old
  age-parse-parameter
  age-parse-numeric-parameter
]])

list(allowed.failures, "which languages a server takes for the same, and which"
  .. " of two it prefers, is the server's to know", [[
  vary-normalise-lang-order
  vary-normalise-lang-select
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
