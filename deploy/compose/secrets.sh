#!/bin/sh
# Makes what compose.yaml needs and no repository may hold: .env, from .env.example, and
# compose/users.acl, the store's users with the hashes of their passwords.
#
# Run it again whenever you like, and after each update: what is set in .env stays as it is, what
# came new is added, and users.acl is written anew. Needs a shell and openssl.
set -eu
umask 077
cd "$(dirname "$0")/.."

random() { openssl rand -hex 32; }
hash() { printf %s "$1" | openssl dgst -sha256 -r | cut -d' ' -f1; }
# The value of a variable in .env; nothing if it is not there.
value() { sed -n "s/^$1=//p" .env | tail -n 1; }
# Gives a variable a value unless it has one.
fill() {
    [ -n "$(value "$1")" ] && return
    sed "s|^$1=.*|$1=$2|" .env >.env.draft
    mv .env.draft .env
}

if [ ! -e .env ]; then
    cp .env.example .env
    chmod 600 .env
fi
# An update may bring variables that this .env does not have yet; they begin on a line of their own.
[ -z "$(tail -c 1 .env)" ] || echo >>.env
sed -n 's/^\([A-Z_]*=.*\)/\1/p' .env.example | while IFS= read -r line; do
    grep -q "^${line%%=*}=" .env || printf '%s\n' "$line" >>.env
done

for secret in MUSTER_SECRET MUSTER_AGENT_JOIN_TOKEN MUSTER_STORE_ADMIN_PASSWORD \
    MUSTER_STORE_GATEWAY_PASSWORD MUSTER_STORE_SWEEPER_PASSWORD MUSTER_GRAFANA_PASSWORD; do
    fill "$secret" "$(random)"
done
fill MUSTER_JOIN_TOKENS "$(value MUSTER_AGENT_JOIN_TOKEN)"
fill MUSTER_TOKEN "$(random)"
fill MUSTER_API_TOKENS "admin:admin:sha256:$(hash "$(value MUSTER_TOKEN)")"

# Replicas and sentinels have no user here: there are none.
users=compose/users.acl
sed -e '/^user replica /d' -e '/^user sentinel /d' \
    -e "s/#ADMIN_SHA256/#$(hash "$(value MUSTER_STORE_ADMIN_PASSWORD)")/" \
    -e "s/#GATEWAY_SHA256/#$(hash "$(value MUSTER_STORE_GATEWAY_PASSWORD)")/" \
    -e "s/#SWEEPER_SHA256/#$(hash "$(value MUSTER_STORE_SWEEPER_PASSWORD)")/" \
    store/users.acl >"$users.draft"
# Hashes of long random words tell nobody anything, and the store's user must be able to read them.
# Written in place: a container sees the file that was there when it was made.
[ -e "$users" ] || : >"$users"
chmod 644 "$users"
cat "$users.draft" >"$users"
rm "$users.draft"
echo "deploy/.env and deploy/$users are there; keep .env where secrets are kept."
