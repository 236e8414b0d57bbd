# Sets root_id and root_secret from the secret file, which has the format of AWS's own clients. For sourcing.
root_key=/run/secrets/s3_root

value_of() { # value_of NAME: what stands behind it
  sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" "$root_key" | tr -d ' \r\n'
}

if [ ! -r "$root_key" ]; then
  echo "s3: cannot read $root_key; images/secrets.sh makes it, and its mode is 0444" >&2
  exit 1
fi
root_id=$(value_of aws_access_key_id)
root_secret=$(value_of aws_secret_access_key)
# They are written between quotation marks later on.
case $root_id:$root_secret in
  :* | *: | *[!A-Za-z0-9/+=:_-]*)
    echo "s3: $root_key lacks aws_access_key_id or aws_secret_access_key, or has odd characters in them" >&2
    exit 1
    ;;
esac
