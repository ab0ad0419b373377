#!/bin/sh
# Publishes an order through a sidecar with curl: once, however often it has to ask.
#   publish.sh ORDER TEXT
set -eu
url="${EOS_URL:-http://127.0.0.1:7070}/v1/topics/${TOPIC:-orders}"

# 409, 503, no answer: curl asks again, with the same key. Anything else is final.
for wait in 0 1 1 2 3 5 8; do
    sleep "$wait"
    answer=$(curl --silent --show-error --max-time 30 --write-out '\n%{http_code}' \
        --header "Idempotency-Key: \"order-$1\"" --header "Content-Type: text/plain" \
        --data-binary "$2" "$url") || continue
    status=${answer##*
}
    case $status in
    200) echo "${answer%
*}" && exit 0 ;;
    409 | 503) ;;
    *) echo "$answer" >&2 && exit 1 ;;
    esac
done
echo "no answer: run it again, with the same order" >&2
exit 1
