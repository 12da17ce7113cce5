-- Tasks that belong together: those of a group, those of an AbortSignal. A
-- crowd may live as long as the game, so it does not keep all that ever ended.

local crowd = {}

local LEAST = 64 -- below that nobody is forgotten

-- A crowd that remembers the newest `keep` of those that have ended.
function crowd.new(keep)
  return { keep = keep, limit = LEAST }
end

local function count_ended(self)
  local ended = 0
  for i = 1, #self do
    if self[i].state == "done" then ended = ended + 1 end
  end
  return ended
end

-- Forget the oldest that have ended, all but `keep`.
function crowd.prune(self, keep)
  local surplus = count_ended(self) - keep
  local kept = 0
  for i = 1, #self do
    local task = self[i]
    self[i] = nil
    if surplus > 0 and task.state == "done" then
      surplus = surplus - 1
    else
      kept = kept + 1
      self[kept] = task
    end
  end
  self.limit = kept > LEAST and 2 * kept or LEAST
end

function crowd.add(self, task)
  if #self >= self.limit then crowd.prune(self, self.keep) end
  self[#self + 1] = task
end

-- What abort() calls may change the crowd.
function crowd.abort(self, options)
  local tasks = {}
  for i = 1, #self do tasks[i] = self[i] end
  for i = 1, #tasks do tasks[i]:abort(options) end
end

return crowd
