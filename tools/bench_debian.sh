#!/bin/sh
# bench_debian.sh DIR - Debian 12's PyTorch (1.13.1) as a rival, without installing it: its packages are unpacked in DIR
# (0.7 GB) and DIR/python runs it as Debian would (OpenBLAS with its own threads, glibc's malloc), DIR/python-tuned at its
# best (OpenBLAS with OpenMP, tcmalloc).  Then: HONE_BENCH_DEBIAN_PYTHON=DIR/python make bench
[ $# = 1 ] || { echo "usage: bench_debian.sh DIR" >&2 && exit 2; }
for tool in apt-get dpkg /usr/bin/python3.11; do
    command -v $tool >/dev/null || { echo "skipped: no $tool (Debian 12 has it)" && exit 77; }
done
mkdir -p "$1/packages" "$1/root" && dir=$(realpath "$1") || exit 1
want="python3-torch libopenblas0-openmp libopenblas0-pthread libtcmalloc-minimal4"
cd "$dir/packages" || exit 1
needed=$(apt-get install -s --no-install-recommends $want 2>/dev/null | awk '/^Inst/ { print $2 }')
[ -n "$needed" ] || { echo "bench_debian.sh: apt-get finds no way to install $want" >&2 && exit 1; }
apt-get download -q $needed >/dev/null 2>&1 || { echo "bench_debian.sh: the download failed" >&2 && exit 1; }
for package in *.deb; do dpkg -x "$package" "$dir/root" || exit 1; done

lib=$dir/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)
wrapper() { # name, kind of OpenBLAS, what is loaded before all
    cat >"$dir/$1" <<S
#!/bin/sh
export LD_LIBRARY_PATH=$lib/openblas-$2:$lib:$dir/root/usr/lib:$dir/root/lib/${lib##*/}
export PYTHONPATH=$dir/root/usr/lib/python3/dist-packages LD_PRELOAD=$3
exec /usr/bin/python3.11 "\$@"
S
    chmod +x "$dir/$1"
    "$dir/$1" -c 'import torch; print(torch.__version__)' || { echo "bench_debian.sh: $dir/$1 cannot import torch" >&2 && exit 1; }
}
wrapper python pthread ""
wrapper python-tuned openmp "$lib/libtcmalloc_minimal.so.4"
