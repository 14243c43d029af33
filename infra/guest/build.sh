#!/usr/bin/env bash
# Builds the guest image that the demo and the end-to-end tests boot and move: Debian's cloud kernel and an initramfs
# of busybox, tpm2-tools and ./init. Needs no compiler and no root; the kernel package is unpacked, not installed.
#
#   infra/guest/build.sh OUTDIR
#
#   OUTDIR/vmlinuz           the kernel as Debian ships it. Not as plain ELF: QEMU 7.2 enters that by PVH a little sooner,
#                            but the guest then finds broken ACPI tables, hence no TPM
#   OUTDIR/initramfs.cpio    not compressed: unpacking costs a guest under TCG more than QEMU's copying
#   OUTDIR/cmdline           the kernel command line to start from; append korora.* words (see init)
#   OUTDIR/stamp             digest of the inputs, kernel package, package versions
#   OUTDIR/packages          the kernel package as downloaded
#
# The userland comes from the machine's own Debian packages (busybox-static, tpm2-tools, libtss2-tcti-device0), so
# those and cpio must be installed; infra/setup/setup.sh sees to it. Does nothing when the inputs are those of the
# stamp: this folder's scripts and the versions of those packages. The kernel is the newest that apt knows at the time
# of a build; a newer one alone is no reason to build again. KORORA_GUEST_KERNEL names another package.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:?usage: build.sh OUTDIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)

fail() {
  echo "guest image: $*" >&2
  exit 1
}

# --- nothing to do? -------------------------------------------------------------------------------------------------
versions=$(dpkg-query -W -f '${Package} ${Version}\n' busybox-static tpm2-tools libtss2-tcti-device0 libtss2-esys-3.0.2-0 libssl3 libc6) ||
  fail 'busybox-static, tpm2-tools and libtss2-tcti-device0 must be installed (infra/setup/setup.sh packages)'
inputs=$({ cat "$here/build.sh" "$here/init" "$here/cmdline"; echo "$versions ${KORORA_GUEST_KERNEL:-}"; } | sha256sum | cut -d ' ' -f 1)
if [ -s "$out/vmlinuz" ] && [ -s "$out/initramfs.cpio" ] && [ "$(head -n 1 "$out/stamp" 2>/dev/null)" = "$inputs" ]; then
  echo "guest image is up to date: $out"
  exit 0
fi

exec 9>"$out/.lock"
flock 9
work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# --- the kernel -----------------------------------------------------------------------------------------------------
package=${KORORA_GUEST_KERNEL:-$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)}
mkdir -p "$out/packages"
if [ -n "$package" ]; then
  (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package") && mv "$work"/*.deb "$out/packages/"
fi
deb=$(find "$out/packages" -name "${package:-linux-image}*.deb" -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
[ -n "$deb" ] || fail 'apt knows no linux-image-cloud-amd64; run apt-get update'
dpkg-deb -x "$deb" "$work/kernel"

# --- the initramfs --------------------------------------------------------------------------------------------------
root=$work/root
mkdir -p "$root"/{bin,lib,lib64,modules,proc,sys,dev,run}
install -m 755 "$here/init" "$root/init"

install -m 755 /bin/busybox "$root/bin/busybox"
for applet in $(/bin/busybox --list); do
  [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done

install -m 755 /usr/bin/tpm2 "$root/bin/tpm2"
tcti=$(ldconfig -p | sed -n 's/.*libtss2-tcti-device\.so\.0 .* => //p' | head -n 1)
[ -n "$tcti" ] || fail 'libtss2-tcti-device.so.0 not found'
cp -L "$tcti" "$root/lib/"
ldd /usr/bin/tpm2 "$tcti" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u | while read -r library; do
  cp -L "$library" "$root/lib/"
done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"

# In the order init loads them: a module after those it needs.
modules=$(echo "$work"/kernel/lib/modules/*/kernel)
for module in virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci block/virtio_blk; do
  file=$modules/drivers/$module.ko
  [ -f "$file" ] || fail "the kernel package has no $module.ko"
  cp "$file" "$root/modules/"
  basename "$file" >>"$root/modules/order"
done

# Loaded only where the command line gives an address.
for module in net/core/failover drivers/net/net_failover drivers/net/virtio_net; do
  file=$modules/$module.ko
  [ -f "$file" ] || fail "the kernel package has no $module.ko"
  cp "$file" "$root/modules/"
  basename "$file" >>"$root/modules/network"
done

# Same inputs, same bytes: fixed times, fixed order, owner root.
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) >"$work/initramfs.cpio"

# --- in place -------------------------------------------------------------------------------------------------------
rm -f "$out/stamp"
mv "$work"/kernel/boot/vmlinuz-* "$out/vmlinuz"
mv "$work/initramfs.cpio" "$out/initramfs.cpio"
cp "$here/cmdline" "$out/cmdline"
{ echo "$inputs"; basename "$deb"; echo "$versions"; } >"$work/stamp"
mv "$work/stamp" "$out/stamp"
echo "guest image built: $out ($(basename "$deb"))"
