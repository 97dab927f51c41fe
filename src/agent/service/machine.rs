//! Describes the machine that the program runs on, in the same terms as the agents of the Go SDK.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::proto::connectorapi::baton_service_hello_request::OsInfo;

/// Maximum length of a value, in characters.
const LONGEST: usize = 256;
/// How many bytes of a file are used.
const LARGEST: u64 = 1024 * 1024;

/// Describes the machine from files below this folder, which is `/` except in tests.
pub(super) fn describe(root: &Path, hostname: Option<String>) -> OsInfo {
    let files = Files(root.to_owned());
    let os = std::env::consts::OS.to_owned();
    let kernel_version = files.line("proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let (platform, version) = platform(&files).unwrap_or_default();
    let platform_family = family(&platform).map(str::to_owned);
    let or = |text: String, fallback: &str| if text.is_empty() { fallback.to_owned() } else { text };
    let platform = or(platform, &os);
    OsInfo {
        hostname: cut(hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())),
        platform_version: cut(or(version, &kernel_version)),
        platform_family: cut(platform_family.unwrap_or_else(|| platform.clone())),
        platform: cut(platform),
        os,
        kernel_version: cut(kernel_version),
        kernel_arch: std::env::consts::ARCH.to_owned(),
        virtualization_system: virtualization(&files).unwrap_or("none").to_owned(),
    }
}

/// Files below a folder.
struct Files(PathBuf);

impl Files {
    fn exists(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    /// The text of a file; `None` if it is missing or unreadable.
    fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.0.join(path)).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn line(&self, path: &str) -> Option<String> {
        let line = self.text(path)?.lines().next()?.trim().to_owned();
        (!line.is_empty()).then_some(line)
    }

    /// A value from a file with `NAME=value` lines.
    fn value(&self, path: &str, name: &str) -> Option<String> {
        let text = self.text(path)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    }
}

/// The distribution and its version, from the first known release file that exists.
fn platform(files: &Files) -> Option<(String, String)> {
    const RELEASES: [(&str, &str); 3] = [
        ("etc/oracle-release", "oracle"),
        ("etc/enterprise-release", "oracle"),
        ("etc/slackware-version", "slackware"),
    ];
    const LATER: [(&str, &str); 5] = [
        ("etc/neokylin-release", "neokylin"),
        ("etc/redhat-release", "redhat"),
        ("etc/system-release", "redhat"),
        ("etc/gentoo-release", "gentoo"),
        ("etc/SuSE-release", "suse"),
    ];
    let named = |(path, name): (&str, &str)| Some((name.to_owned(), number(&files.line(path)?)));
    RELEASES
        .into_iter()
        .find_map(named)
        .or_else(|| debian(files))
        .or_else(|| LATER.into_iter().find_map(named))
        .or_else(|| files.exists("etc/arch-release").then(|| ("arch".to_owned(), String::new())))
        .or_else(|| Some(("alpine".to_owned(), files.line("etc/alpine-release")?)))
        .or_else(|| {
            let id = files.value("etc/os-release", "ID")?;
            let id = if id == "amzn" { "amazon".to_owned() } else { id };
            Some((id, files.value("etc/os-release", "VERSION_ID").unwrap_or_default()))
        })
}

fn debian(files: &Files) -> Option<(String, String)> {
    let version = files.line("etc/debian_version")?;
    let lsb = |name| files.value("etc/lsb-release", name).unwrap_or_default();
    match lsb("DISTRIB_ID").as_str() {
        "" | "Debian" if files.exists("usr/bin/raspi-config") => Some(("raspbian".to_owned(), version)),
        "" | "Debian" => Some(("debian".to_owned(), version)),
        id => Some((id.to_lowercase(), lsb("DISTRIB_RELEASE"))),
    }
}

/// The first number in a line such as `Oracle Linux Server release 9.3`.
fn number(line: &str) -> String {
    let is_number = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
    line.split_whitespace().find(is_number).unwrap_or_default().to_owned()
}

fn family(platform: &str) -> Option<&'static str> {
    Some(match platform {
        "debian" | "ubuntu" | "linuxmint" | "raspbian" => "debian",
        "oracle" | "centos" | "redhat" | "rhel" | "amazon" | "rocky" | "almalinux" => "rhel",
        "suse" | "opensuse" | "sles" | "opensuse-leap" | "opensuse-tumbleweed" => "suse",
        "fedora" => "fedora",
        "arch" => "arch",
        "alpine" => "alpine",
        "gentoo" => "gentoo",
        _ => return None,
    })
}

/// The virtualization system; of several signs, the last one counts.
fn virtualization(files: &Files) -> Option<&'static str> {
    let mut found = None;
    let mut sign = |is: bool, name| {
        if is {
            found = Some(name);
        }
    };
    let text = |path| files.text(path).unwrap_or_default();
    sign(files.exists("proc/xen"), "xen");
    let modules = text("proc/modules");
    for (word, name) in [
        ("kvm", "kvm"),
        ("hv_util", "hyperv"),
        ("vboxdrv", "vbox"),
        ("vboxguest", "vbox"),
        ("vmware", "vmware"),
    ] {
        sign(modules.contains(word), name);
    }
    let processor = text("proc/cpuinfo");
    sign(["QEMU Virtual CPU", "Common KVM processor"].iter().any(|word| processor.contains(word)), "kvm");
    sign(files.exists("proc/bc/0") || files.exists("proc/vz"), "openvz");
    sign(text("proc/self/status").contains("VxID"), "linux-vserver");
    sign(text("proc/1/environ").contains("container=lxc"), "lxc");
    let groups = text("proc/self/cgroup");
    for (word, name) in [("lxc", "lxc"), ("docker", "docker"), ("machine-rkt", "rkt")] {
        sign(groups.contains(word), name);
    }
    sign(files.exists(".dockerenv"), "docker");
    found
}

fn cut(text: String) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn machine(files: &[(&str, &str)]) -> OsInfo {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        describe(root.path(), Some("h".to_owned()))
    }

    #[test]
    fn detects_distributions_by_their_files() {
        let is = |files: &[(&str, &str)], platform: &str, version: &str, family: &str| {
            let found = machine(files);
            let found = (found.platform, found.platform_version, found.platform_family);
            assert_eq!(found, (platform.to_owned(), version.to_owned(), family.to_owned()));
        };
        is(&[("etc/debian_version", "12.11\n")], "debian", "12.11", "debian");
        let ubuntu = "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\n";
        is(&[("etc/debian_version", "x"), ("etc/lsb-release", ubuntu)], "ubuntu", "24.04", "debian");
        is(&[("etc/oracle-release", "Oracle Linux Server release 9.3")], "oracle", "9.3", "rhel");
        let mint = "DISTRIB_ID=LinuxMint\nDISTRIB_RELEASE=\"22\"\n";
        is(&[("etc/debian_version", "x"), ("etc/lsb-release", mint)], "linuxmint", "22", "debian");
        let debian = "DISTRIB_ID=Debian\nDISTRIB_RELEASE=12\n";
        is(&[("etc/debian_version", "12.11"), ("etc/lsb-release", debian)], "debian", "12.11", "debian");
        is(&[("etc/debian_version", "12.1"), ("usr/bin/raspi-config", "")], "raspbian", "12.1", "debian");
        is(&[("etc/enterprise-release", "Enterprise Linux 5.11")], "oracle", "5.11", "rhel");
        is(&[("etc/slackware-version", "Slackware 15.0")], "slackware", "15.0", "slackware");
        is(&[("etc/neokylin-release", "NeoKylin release 7.0")], "neokylin", "7.0", "neokylin");
        is(&[("etc/redhat-release", "Red Hat Enterprise Linux release 9.4 (Plow)")], "redhat", "9.4", "rhel");
        is(&[("etc/system-release", "Linux release 2.0")], "redhat", "2.0", "rhel");
        is(&[("etc/gentoo-release", "Gentoo Base System release 2.15")], "gentoo", "2.15", "gentoo");
        is(&[("etc/SuSE-release", "SUSE Linux Enterprise Server 11")], "suse", "11", "suse");
        let kernel = ("proc/sys/kernel/osrelease", "6.1.0\n");
        is(&[("etc/arch-release", ""), kernel], "arch", "6.1.0", "arch");
        is(&[("etc/os-release", "ID=fedora\nVERSION_ID=41\n")], "fedora", "41", "fedora");
        is(&[("etc/os-release", "ID='opensuse-leap'\nVERSION_ID=15.6\n")], "opensuse-leap", "15.6", "suse");
        // The first known file counts.
        is(
            &[("etc/oracle-release", "Oracle 9.3"), ("etc/redhat-release", "Red Hat 9.4")],
            "oracle",
            "9.3",
            "rhel",
        );
        is(&[("etc/debian_version", "12.11"), ("etc/redhat-release", "9.4")], "debian", "12.11", "debian");
        is(&[("etc/alpine-release", "3.20.1\n")], "alpine", "3.20.1", "alpine");
        is(&[("etc/os-release", "ID=\"amzn\"\nVERSION_ID=\"2023\"\n")], "amazon", "2023", "rhel");
        is(&[kernel], std::env::consts::OS, "6.1.0", std::env::consts::OS);
        is(&[kernel, ("etc/os-release", "ID=odd\n")], "odd", "6.1.0", "odd");
    }

    #[test]
    fn the_last_sign_of_virtualization_counts() {
        let of = |files: &[(&str, &str)]| machine(files).virtualization_system;
        assert_eq!(of(&[]), "none");
        assert_eq!(of(&[("proc/modules", "kvm_intel 1 0\n")]), "kvm");
        assert_eq!(of(&[("proc/modules", "kvm_intel 1 0\n"), (".dockerenv", "")]), "docker");
        assert_eq!(of(&[("proc/self/cgroup", "0::/docker/abc\n")]), "docker");
        for (path, text, system) in [
            ("proc/xen", "", "xen"),
            ("proc/modules", "hv_utils 1 0\n", "hyperv"),
            ("proc/modules", "vboxdrv 1 0\n", "vbox"),
            ("proc/modules", "vboxguest 1 0\n", "vbox"),
            ("proc/modules", "vmware_balloon 1 0\n", "vmware"),
            ("proc/cpuinfo", "model name : QEMU Virtual CPU version 2.5\n", "kvm"),
            ("proc/cpuinfo", "model name : Common KVM processor\n", "kvm"),
            ("proc/bc/0", "", "openvz"),
            ("proc/vz", "", "openvz"),
            ("proc/self/status", "VxID: 7\n", "linux-vserver"),
            ("proc/1/environ", "a=b\0container=lxc\0", "lxc"),
            ("proc/self/cgroup", "0::/lxc/abc\n", "lxc"),
            ("proc/self/cgroup", "0::/machine-rkt/abc\n", "rkt"),
        ] {
            assert_eq!(of(&[(path, text)]), system, "{path} {text}");
        }
        let guest = [("proc/xen", ""), ("proc/modules", "kvm 1 0\n"), ("proc/1/environ", "container=lxc")];
        assert_eq!(of(&guest), "lxc");
        assert_eq!(of(&guest[..2]), "kvm");
    }

    #[test]
    fn no_value_is_empty_or_too_long() {
        let bare = describe(Path::new("/nowhere"), None);
        assert_eq!((bare.hostname.as_str(), bare.kernel_version.as_str()), ("unknown", "unknown"));
        assert!(!bare.platform.is_empty() && !bare.platform_family.is_empty());
        let long = machine(&[("etc/debian_version", &"9".repeat(300))]);
        assert_eq!(long.platform_version.len(), LONGEST);
    }
}
