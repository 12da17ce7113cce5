// What RFC 9111, 5861 and 8246 and the modes of fetch ask of a private cache
// and http-cache-tests does not play, in that suite's own form: what each member
// of a request means is said in its lib/testsuite-schema.json.

const tests = [];

function add(id, name, ...requests) {
  tests.push({ id: `more-${id}`, name, kind: "required", requests });
}

// An answer with this Cache-Control, to be stored; `more` are other fields.
function stored(control, more = [], others = {}) {
  return { response_headers: [["Cache-Control", control], ...more],
    setup: true, ...others };
}

// The same, and three seconds pass.
function aged(control, more = [], others = {}) {
  return stored(control, more, { pause_after: true, ...others });
}

function asking(control, others = {}) {
  return { request_headers: [["Cache-Control", control]], ...others };
}

const CACHED = { expected_type: "cached" };
const NOT_CACHED = { expected_type: "not_cached" };
const SHOWS = (name, value) => ({ expected_response_headers: [[name, value]] });
const ETAG = ["ETag", '"one"'];
const MODIFIED = ["Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT"];

function failing(status, others = NOT_CACHED) {
  return { response_status: [status, "No"], expected_status: status,
    ...others };
}

// ---- Directives of an answer: RFC 9111 5.2.2 ---------------------------------

add("s-maxage", "A private cache ignores s-maxage",
  aged("max-age=3600, s-maxage=0"), CACHED);
add("proxy-revalidate", "A private cache ignores proxy-revalidate",
  aged("max-age=1, proxy-revalidate"), asking("max-stale", CACHED));
add("private-field", "A private cache stores what names private fields",
  stored('private="a", max-age=3600'), CACHED);
add("public", "public alone makes nothing fresh",
  aged("public"), NOT_CACHED);
add("must-understand-200", "must-understand overrules no-store where the"
  + " status is understood",
  stored("must-understand, no-store, max-age=3600"), CACHED);
add("must-understand-599", "must-understand and no-store, where it is not",
  stored("must-understand, no-store, max-age=3600", [],
    { response_status: [599, "Whatever"] }), NOT_CACHED);
add("no-cache-stale", "max-stale does not overrule no-cache",
  stored("no-cache, max-age=3600"), asking("max-stale", NOT_CACHED));
add("must-revalidate-max-stale", "max-stale does not overrule must-revalidate",
  aged("max-age=1, must-revalidate"), asking("max-stale", NOT_CACHED));

// ---- Directives of a request: RFC 9111 5.2.1 ---------------------------------

add("request-no-store", "An answer to a request with no-store is not stored",
  { ...stored("max-age=3600"), request_headers: [["Cache-Control",
    "no-store"]] }, NOT_CACHED);
add("request-no-cache", "An answer to a request with no-cache is stored",
  stored("max-age=3600", [["A", "1"]]),
  { ...stored("max-age=3600", [["A", "2"]]), request_headers: [["Cache-Control",
    "no-cache"]], expected_type: "not_cached" },
  { ...CACHED, ...SHOWS("A", "2") });
add("request-max-age-0", "max-age=0 validates",
  stored("max-age=3600", [ETAG]),
  asking("max-age=0", { expected_type: "etag_validated" }));
add("request-max-age", "max-age is compared with the age",
  aged("max-age=3600"), asking("max-age=2", NOT_CACHED));
add("request-max-age-enough", "max-age allows what is young",
  stored("max-age=3600"), asking("max-age=60", CACHED));
add("request-max-stale", "max-stale without a value allows any age",
  aged("max-age=1"), asking("max-stale", CACHED));
add("request-max-stale-less", "max-stale with a value allows no more",
  aged("max-age=1"), asking("max-stale=1", NOT_CACHED));
add("request-min-fresh", "min-fresh allows what is fresh long enough",
  stored("max-age=3600"), asking("min-fresh=60", CACHED));
add("request-only-if-cached", "only-if-cached is answered by what is fresh",
  stored("max-age=3600"), asking("only-if-cached", CACHED));
add("request-pragma", "Pragma counts only without Cache-Control",
  stored("max-age=3600"),
  { request_headers: [["Pragma", "no-cache"], ["Cache-Control",
    "max-age=3600"]], ...CACHED });

// ---- Validation: RFC 9111 4.3 ------------------------------------------------

add("both-validators", "Both validators are sent",
  aged("max-age=1", [ETAG, MODIFIED]),
  { expected_type: "etag_validated",
    expected_request_headers: [["If-None-Match", ETAG[1]],
      ["If-Modified-Since", MODIFIED[1]]] });
add("replaced", "A full answer to a validation replaces the stored one",
  aged("max-age=1", [ETAG, ["A", "1"]]),
  { ...stored("max-age=3600", [["ETag", '"two"'], ["A", "2"]]),
    expected_request_headers: [["If-None-Match", ETAG[1]]],
    expected_type: "not_cached" },
  { ...CACHED, ...SHOWS("A", "2") });
add("validated-age", "A validated answer is young again",
  aged("max-age=2", [ETAG, ["Age", "1"]], { check_body: false }),
  { ...stored("max-age=3600", [ETAG, ["Age", "0"]]),
    expected_type: "etag_validated" },
  CACHED);
add("validation-error", "An error instead of an answer to a validation is told",
  aged("max-age=1, must-revalidate", [ETAG]), failing(500));
add("own-conditional", "A conditional request of the script's own is answered"
  + " by the server alone",
  stored("max-age=3600", [ETAG]),
  { request_headers: [["If-None-Match", '"other"']], ...NOT_CACHED });
add("own-range", "A request with Range goes by, and its answer is not stored",
  { request_headers: [["Range", "bytes=0-1"]],
    response_status: [206, "Partial Content"],
    response_headers: [["Cache-Control", "max-age=3600"],
      ["Content-Range", "bytes 0-1/4"]], response_body: "01", setup: true },
  NOT_CACHED);
add("head-same", "HEAD with the same validator brings headers up to date",
  aged("max-age=2", [ETAG, ["A", "1"]]),
  { request_method: "HEAD", response_headers: [["Cache-Control",
    "max-age=3600"], ETAG, ["A", "2"]], setup: true },
  { ...CACHED, ...SHOWS("A", "2") });
add("head-other", "HEAD with another validator ends what is stored",
  stored("max-age=3600", [ETAG]),
  { request_method: "HEAD", response_headers: [["ETag", '"two"']],
    setup: true },
  NOT_CACHED);

// ---- Vary and what identifies an answer: RFC 9111 2 and 4.1 ------------------

const foo = value => ({ request_headers: [["Foo", value]] });

add("variant-alone", "A 304 is about one variant",
  { ...stored("max-age=3600", [["Vary", "Foo"], ["ETag", '"two"'],
    ["A", "2"]]), ...foo("2") },
  { ...aged("max-age=1", [["Vary", "Foo"], ETAG, ["A", "1"]]), ...foo("1") },
  { ...stored("max-age=3600", [["Vary", "Foo"], ETAG, ["A", "3"]]),
    ...foo("1"), expected_type: "etag_validated" },
  { ...foo("2"), ...CACHED, ...SHOWS("A", "2") });
for (const name of ["Accept-Encoding", "User-Agent", "Cookie", "Origin"])
  add(`vary-${name}`, `Vary: ${name}, where the script sent none`,
    stored("max-age=3600", [["Vary", name]]), CACHED);
add("vary-case", "Vary names fields in any case",
  { ...stored("max-age=3600", [["Vary", "fOO"]]), ...foo("1") },
  { ...foo("1"), ...CACHED });
add("vary-value-case", "Values are compared case by case",
  { ...stored("max-age=3600", [["Vary", "Foo"]]), ...foo("a") },
  { ...foo("A"), ...NOT_CACHED });
add("fragment", "A fragment does not count",
  { ...stored("max-age=3600"), filename: "x#a" },
  { filename: "x#b", ...CACHED });
add("path-case", "The case of a path does",
  { ...stored("max-age=3600"), filename: "x" },
  { filename: "X", ...NOT_CACHED });

const user = name => ({ request_headers: [["Authorization", name]] });
add("authorization", "What one user got is for that user",
  { ...stored("max-age=3600"), ...user("Bearer one") },
  { ...user("Bearer two"), ...NOT_CACHED },
  NOT_CACHED,
  { ...user("Bearer one"), ...CACHED });

// ---- Invalidation: RFC 9111 4.4 ----------------------------------------------

add("invalidate-PATCH", "PATCH invalidates",
  stored("max-age=3600"),
  { request_method: "PATCH", request_body: "a", setup: true }, NOT_CACHED);
add("invalidate-303", "So does POST when the answer is a redirect",
  stored("max-age=3600"),
  { request_method: "POST", request_body: "a", redirect: "manual",
    response_status: [303, "See Other"],
    response_headers: [["Location", "/elsewhere"]], setup: true }, NOT_CACHED);
add("invalidate-no-store", "And POST that does without the cache itself",
  stored("max-age=3600"),
  { request_method: "POST", request_body: "a", cache: "no-store",
    setup: true }, NOT_CACHED);
add("invalidate-variants", "All variants of the URL go",
  { ...stored("max-age=3600", [["Vary", "Foo"]]), ...foo("1") },
  { ...stored("max-age=3600", [["Vary", "Foo"]]), ...foo("2") },
  { request_method: "POST", request_body: "a", setup: true },
  { ...foo("1"), ...NOT_CACHED }, { ...foo("2"), ...NOT_CACHED });
for (const method of ["HEAD", "OPTIONS"])
  add(`safe-${method}`, `${method} does not invalidate`,
    stored("max-age=3600", [ETAG]),
    { request_method: method, response_headers: [ETAG], check_body: false,
      setup: true }, CACHED);
add("invalidate-other-query", "Another query is another URL",
  { ...stored("max-age=3600"), query_arg: "a=1" },
  { request_method: "POST", request_body: "a", query_arg: "a=2",
    setup: true },
  { query_arg: "a=1", ...CACHED });

// ---- Stale answers: RFC 9111 4.2.4, 5861 --------------------------------------

add("error-covered", "stale-if-error covers a 503",
  aged("max-age=1, stale-if-error=60"), failing(503, { ...CACHED,
    expected_status: 200 }));
add("error-over", "For so long, and no longer",
  aged("max-age=1, stale-if-error=1"), failing(503));
add("error-404", "And no error that is an answer",
  aged("max-age=1, stale-if-error=60"), failing(404));
add("error-must-revalidate", "must-revalidate forbids it",
  aged("max-age=1, stale-if-error=60, must-revalidate"), failing(503));
add("error-no-cache", "So does no-cache",
  aged("no-cache, stale-if-error=60"), failing(503));
add("error-asked", "A request may ask for it",
  aged("max-age=1"), { ...asking("stale-if-error=60"),
    ...failing(503, { ...CACHED, expected_status: 200 }) });
add("renewed", "stale-while-revalidate answers at once, and renews",
  aged("max-age=1, stale-while-revalidate=60", [["A", "1"]]),
  { ...aged("max-age=3600", [["A", "2"]]), ...CACHED, ...SHOWS("A", "1") },
  { ...CACHED, ...SHOWS("A", "2") });
add("renew-over", "For so long, and no longer",
  aged("max-age=1, stale-while-revalidate=1"), NOT_CACHED);
add("renew-must-revalidate", "must-revalidate forbids it",
  aged("max-age=1, stale-while-revalidate=60, must-revalidate"), NOT_CACHED);

// ---- Modes of fetch -----------------------------------------------------------

add("mode-reload", "reload asks, and stores",
  stored("max-age=3600", [["A", "1"]]),
  { ...stored("max-age=3600", [["A", "2"]]), cache: "reload",
    expected_type: "not_cached" },
  { ...CACHED, ...SHOWS("A", "2") });
add("mode-no-store", "no-store neither takes nor stores",
  stored("max-age=3600", [["A", "1"]]),
  { ...stored("max-age=3600", [["A", "2"]]), cache: "no-store",
    expected_type: "not_cached" },
  { ...CACHED, ...SHOWS("A", "1") });
add("mode-no-cache", "no-cache validates what is fresh",
  stored("max-age=3600", [ETAG]),
  { cache: "no-cache", expected_type: "etag_validated" });
for (const cache of ["force-cache", "only-if-cached"])
  add(`mode-${cache}`, `${cache} takes what is stale`,
    aged("max-age=1"), { cache, ...CACHED });
add("mode-force-cache-none", "force-cache asks when there is none",
  { ...stored("max-age=3600"), cache: "force-cache" }, CACHED);
add("mode-reload-immutable", "reload asks even for what is immutable",
  stored("max-age=3600, immutable", [ETAG]),
  { cache: "reload", ...NOT_CACHED });

export default [{ name: "More", id: "more", tests }];
