-- Give turns to waiting jobs of an earlier release. ARGV[2]: queue, [3]: lane, [4]...: for each its member in the lane, its
-- channel and its priority, or '' if there is no such job. Without jobs, returns the lanes of all queues that have waiting jobs but no turns, as queue, lane.
local found = {}
if not ARGV[2] then
  for _, queue in ipairs(redis.call('SMEMBERS', P .. 'queues')) do
    for _, lane in ipairs(redis.call('SMEMBERS', P .. 'lanes:' .. queue)) do
      local place = queue .. ':' .. lane
      if string.sub(lane, 1, 1) ~= '#' and redis.call('EXISTS', P .. 'due:' .. place) == 1
        and redis.call('EXISTS', P .. 'turns:' .. place, P .. 'asleep:' .. place) == 0 then
        found[#found + 1] = queue
        found[#found + 1] = lane
      end
    end
  end
end
for i = 4, #ARGV, 3 do
  local due = redis.call('ZSCORE', P .. 'due:' .. ARGV[2] .. ':' .. ARGV[3], ARGV[i])
  if due and ARGV[i + 2] == '' then
    if not redis.call('HGET', P .. 'jobs', is_ours(ARGV[i], 1) and string.sub(ARGV[i], end_of_packed(ARGV[i], 1)) or '') then
      set_aside(P .. 'due:' .. ARGV[2] .. ':' .. ARGV[3], ARGV[i])
    end
  elseif due then
    enter_line(ARGV[2], ARGV[3], ARGV[i + 1], ARGV[i + 2], due, ARGV[i])
  end
end
return found
