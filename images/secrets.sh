#!/bin/sh
# Makes the stack's secret files that are missing, from the system's own random source. Runs on the host,
# with nothing but a POSIX shell.
#
#   sh images/secrets.sh FOLDER            make what is missing
#   sh images/secrets.sh FOLDER NAME       write one new secret to NAME.new, for a rotation
#   sh images/secrets.sh FOLDER --remove   remove what is the stack's, and the folder if nothing else is in it
#
# The folder is its owner's alone. The files in it can be read by anybody who gets that far: Compose mounts
# each one by itself into the containers that need it, whose users have other numbers than the owner.
set -eu
umask 077

folder=$1
passwords="db_password db_mlflow_password mlflow_admin_password mlflow_taxiway_password mlflow_reader_password
mlflow_flask_key jupyter_token"
keys="s3_root s3_mlflow s3_trips"

random() { # random BYTES: twice as many hexadecimal digits
  od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'
}

password() { random 24; }

key() { # the format in which AWS's own clients keep a key
  printf '[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n' "$(random 10)" "$(random 20)"
}

write() { # write KIND FILE: whole, or not at all
  "$1" >"$2.part"
  chmod 0444 "$2.part"
  mv -f "$2.part" "$2"
}

kind_of() {
  case " $(echo $keys) " in *" $1 "*) echo key; return ;; esac
  case " $(echo $passwords) " in *" $1 "*) echo password; return ;; esac
  echo "secrets: there is no secret '$1'" >&2
  exit 2
}

if [ "${2:-}" = --remove ]; then
  for name in $passwords $keys stack.env; do
    rm -f "$folder/$name" "$folder/$name.new" "$folder/$name.part" "$folder/$name.new.part"
  done
  rmdir "$folder" 2>/dev/null || true
  exit
fi

mkdir -p "$folder"
chmod 0700 "$folder"

if [ $# -ge 2 ]; then
  write "$(kind_of "$2")" "$folder/$2.new"
  exit
fi
for name in $passwords $keys; do
  [ -s "$folder/$name" ] || write "$(kind_of "$name")" "$folder/$name"
done
