-- The profile of a result, under the platforms' names and spellings. One
-- constructor: the core calls it with its figures in this order. What no
-- transport here can measure is 0.

return function(redirect_start, redirect_end, fetch_start, lookup_start,
    lookup_end, connect_start, connect_end, tls_start, tls_end, request_start,
    request_end, response_start, response_end, invoke_start, queue_start,
    queue_end, asked_start, asked_end, rtt, http_rtt, throughput, protocol,
    peer_ip, peer_port, reused, sent, received, cache, high_performance)
  return {
    redirectStart = redirect_start,
    redirectEnd = redirect_end,
    fetchStart = fetch_start,
    domainLookUpStart = lookup_start,
    domainLookUpEnd = lookup_end,
    connectStart = connect_start,
    connectEnd = connect_end,
    SSLconnectionStart = tls_start,
    SSLconnectionEnd = tls_end,
    requestStart = request_start,
    requestEnd = request_end,
    responseStart = response_start,
    responseEnd = response_end,
    invokeStart = invoke_start,
    queueStart = queue_start,
    queueEnd = queue_end,
    httpDNSDomainLookUpStart = asked_start,
    httpDNSDomainLookUpEnd = asked_end,
    rtt = rtt,
    httpRttEstimate = http_rtt,
    transportRttEstimate = rtt,
    downstreamThroughputKbpsEstimate = throughput,
    throughputKbps = throughput,
    estimate_nettype = 0,
    protocol = protocol,
    peerIP = peer_ip,
    port = peer_port,
    socketReused = reused,
    sendBytesCount = sent,
    receivedBytedCount = received,
    cache = cache,
    usingHighPerformanceMode = high_performance,
  }
end
