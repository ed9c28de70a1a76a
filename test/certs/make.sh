#!/usr/bin/env bash
# Makes the certificates of the tests: an authority, two servers, a client and a member of a cluster (which is both)
# of it, and a client of another one.
set -euo pipefail
cd "$(dirname "$0")"
days=36500
curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

authority() { openssl req -x509 "${curve[@]}" -days $days -subj "/CN=$1" -keyout "$1.key" -out "$1.pem"; }

# NAME AUTHORITY USAGE
leaf() {
  openssl req "${curve[@]}" -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days $days -out "$1.pem" \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=%s' "$3")
  rm "$1.csr"
}

authority authority
authority stranger
leaf server authority serverAuth
leaf server-2 authority serverAuth
leaf client authority clientAuth
leaf member authority serverAuth,clientAuth
leaf strange-client stranger clientAuth
rm -f authority.key stranger.key ./*.srl
