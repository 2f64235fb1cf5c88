-- Requests for wrk: the same again and again, or each another one.
--
-- wrk ... -s wrk.lua URL -- path=/x?n={n} first=1 lines=FILE method=POST body={"n":{n}}
-- status=200 expected=FILE
--
-- {n} is a number that goes up, {line} the next line of a file. Each answer must have
-- the status and, if `expected` names a file, be that file byte for byte.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

local function read(name)
  local file = assert(io.open(name, "rb"))
  local content = file:read("*a")
  file:close()
  return content
end

function init(args)
  options = { method = "GET", status = "200", first = "0" }
  for _, argument in ipairs(args) do
    local name, value = argument:match("^(%w+)=(.*)$")
    if name then options[name] = value end
  end
  number = tonumber(options.first)
  lines = {}
  if options.lines then
    for line in io.lines(options.lines) do lines[#lines + 1] = line end
  end
  expected = options.expected and read(options.expected)
  wanted = tonumber(options.status)
  wrong, overflow = 0, 0
  local text = options.path .. (options.body or "")
  if not text:find("{n}", 1, true) and not text:find("{line}", 1, true) then
    same = wrk.format(options.method, options.path, nil, options.body)
  end
end

local function filled(text)
  if not text then return nil end
  local line = lines[(number - 1) % math.max(#lines, 1) + 1] or ""
  return (text:gsub("{n}", string.format("%d", number)):gsub("{line}", (line:gsub("%%", "%%%%"))))
end

function request()
  if same then return same end
  number = number + 1
  return wrk.format(options.method, filled(options.path), nil, filled(options.body))
end

function response(status, headers, body)
  if status ~= wanted or (expected and body ~= expected) then wrong = wrong + 1 end
end

function done(summary, latency, requests)
  local wrong, last = 0, 0
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong")
    last = math.max(last, thread:get("number"))
  end
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %.3f, "wrong": %d, "lost": %d, "last": %d,'
      .. ' "p50": %.3f, "p95": %.3f, "p99": %.3f}\n',
    summary.requests, summary.duration / 1e6, wrong, lost, last,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3))
end
