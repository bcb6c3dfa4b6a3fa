-- Return the reserved and the spent amount of periods. ARGV[2]...: a scope, its first quarter and the one after the last.
local found = {}
for i = 2, #ARGV, 3 do
  local begins, ends = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local reserved, spent = period_sums(ARGV[i], begins, ends)
  if not reserved then
    local sums = sum_of_quarters(ARGV[i], begins, ends)
    reserved, spent = sums.r, sums.s
  end
  found[#found + 1] = string.format('%.0f', reserved)
  found[#found + 1] = string.format('%.0f', spent)
end
return found
