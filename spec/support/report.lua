-- busted output handler for spec/run.py. What people read goes to stdout; a
-- line for each start and end of a test goes to the file that
-- NETTASK_TEST_REPORT names, at once, so that after a crash or a hang its last
-- line tells which test it was.

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local file = assert(io.open(os.getenv("NETTASK_TEST_REPORT"), "w"))

  local function note(status, element)
    local name = handler.getFullName(element):gsub("%s+", " ")
    file:write(status, " ", name, "\n")
    file:flush()
  end

  local function show(kind, element, message, debug)
    local text = type(message) == "string" and message
      or require("pl.pretty").write(message)
    local trace = element.trace or debug or {}
    print(("%s: %s\n  %s:%s\n  %s\n"):format(
      kind, handler.getFullName(element), tostring(trace.short_src),
      tostring(trace.currentline), (text:gsub("\n", "\n  "))))
    io.flush()
  end

  local function test_start(element)
    note("start", element)
    return nil, true
  end

  local function test_end(element, _, status)
    note(status, element)
    return nil, true
  end

  local function failed(kind)
    return function(element, _, message, debug)
      show(kind, element, message, debug)
      -- Outside of a test (a file that does not load, a failing teardown)
      -- there is no end of a test that would count it.
      if element.descriptor ~= "it" then
        note("error", element)
      end
      return nil, true
    end
  end

  function handler.subscribe()
    busted.subscribe({ "test", "start" }, test_start)
    busted.subscribe({ "test", "end" }, test_end)
    busted.subscribe({ "failure" }, failed("failure"))
    busted.subscribe({ "error" }, failed("error"))
  end

  return handler
end
