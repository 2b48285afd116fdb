-- Requests of people's clients, each with a value of its own: `wrk … -s people.lua URL -- KIND [VALUES [TAKEN]]`.
--
--   authorize     with COOKIES: asks for codes, and writes them to TAKEN
--   code          exchanges the codes in VALUES, a line each, and writes the refresh tokens to TAKEN if it is given
--   refresh       refreshes the tokens in VALUES; what comes back is refreshed in its turn
--   introspect    asks about the tokens in VALUES, one after the other
--   issue         client credentials, and writes the access tokens to TAKEN
--   revoke        revokes the tokens in VALUES, a line each
--   tokens        client credentials, ten milliseconds after the answer before
--
-- CLIENT_ID, CLIENT_SECRET, REDIRECT_URI and SCOPE are read from the environment. Use one thread: `-t1`.
local env = function(name) return os.getenv(name) or "" end
local client = "client_id=" .. env("CLIENT_ID") .. "&client_secret=" .. env("CLIENT_SECRET")
local verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" -- RFC 7636, appendix B
local challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
local escape = function(text)
  return (text:gsub("[^%w%-._~]", function(c) return string.format("%%%02X", c:byte()) end))
end
local form = { ["Content-Type"] = "application/x-www-form-urlencoded" }
local post = function(path, body) return wrk.format("POST", path, form, client .. body) end
local member = function(body, name) return body:match('"' .. name .. '":"([^"]*)"') end

local values, kept = {}, nil
taken = 0 -- How many values were used; read at the end.
local next_value = function()
  taken = taken + 1
  return values[taken] or error("there are not enough values")
end

local kinds = {
  authorize = function()
    local path = "/oauth2/authorize?response_type=code&client_id=" .. env("CLIENT_ID") .. "&redirect_uri="
      .. escape(env("REDIRECT_URI")) .. "&scope=" .. escape(env("SCOPE")) .. "&code_challenge=" .. challenge
      .. "&code_challenge_method=S256"
    local asked = wrk.format("GET", path, { Cookie = env("COOKIES") })
    request = function() return asked end
    response = function(status, headers)
      local location = headers["Location"] or headers["location"] or ""
      kept:write(location:match("[?&]code=([^&]*)") or error("no code: " .. status .. " " .. location), "\n")
    end
  end,
  code = function()
    local rest = "&grant_type=authorization_code&code_verifier=" .. verifier .. "&redirect_uri="
      .. escape(env("REDIRECT_URI")) .. "&code="
    request = function() return post("/oauth2/token", rest .. next_value()) end
    if kept then response = function(_, _, body) kept:write(member(body, "refresh_token"), "\n") end end
  end,
  refresh = function()
    request = function() return post("/oauth2/token", "&grant_type=refresh_token&refresh_token=" .. next_value()) end
    response = function(status, _, body)
      values[#values + 1] = status == 200 and member(body, "refresh_token") or error(status .. " " .. body)
    end
  end,
  introspect = function()
    local number = 0
    request = function()
      number = number % #values + 1
      return post("/oauth2/introspect", "&token=" .. values[number])
    end
  end,
  issue = function()
    local asked = post("/oauth2/token", "&grant_type=client_credentials")
    request = function() return asked end
    response = function(_, _, body) kept:write(member(body, "access_token"), "\n") end
  end,
  revoke = function()
    request = function() return post("/oauth2/revoke", "&token=" .. next_value()) end
  end,
  tokens = function()
    local asked = post("/oauth2/token", "&grant_type=client_credentials")
    request = function() return asked end
    delay = function() return 10 end
  end,
}

local threads = {}
setup = function(thread) threads[#threads + 1] = thread end

init = function(args)
  if args[2] and args[2] ~= "-" then for line in io.lines(args[2]) do values[#values + 1] = line end end
  if args[3] then
    kept = assert(io.open(args[3], "a"))
    kept:setvbuf("full", 65536)
  end
  kinds[args[1]]()
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %.1f %.3f %.3f %d %d %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status + errors.read + errors.write + errors.connect, threads[1]:get("taken"), summary.requests))
end
