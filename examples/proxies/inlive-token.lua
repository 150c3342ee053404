-- HAProxy asks the refresher for the token, and reports one that has expired.

local LISTENER = "unix@/run/inlive/token.sock"

local function ask(headers)
    local response = core.httpclient():get{
        url = "http://localhost/authorize", headers = headers, dst = LISTENER, timeout = 15000
    }
    if response.status == 200 then
        return response.headers["authorization"][0], response.headers["etag"][0]
    end
end

core.register_action("inlive_token", {"http-req"}, function(txn)
    local authorization, fingerprint = ask({})
    if authorization then
        txn.http:req_set_header("Authorization", authorization)
        txn:set_var("txn.inlive_fingerprint", fingerprint)
    end
end)

-- Returns when the next token is there, so the second try gets it.
core.register_action("inlive_expired", {"http-res"}, function(txn)
    ask({["X-Access-Token-Expired"] = {txn:get_var("txn.inlive_fingerprint")}})
end)
