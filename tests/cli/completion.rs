//! Shell completions and manual pages.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::server::program;
use crate::support::skipped::{skipped, without};

/// The program's directory, for `PATH`.
fn folder() -> PathBuf {
    PathBuf::from(program().get_program()).parent().unwrap().to_owned()
}

/// Runs a script in a shell that finds the program, and returns its output. Returns `None` if the shell is
/// not installed, which is an error if the variable CI is set and CI installs the shell.
fn in_shell(shell: &str, flags: &[&str], script: &str) -> Option<String> {
    let path = format!("{}:{}", folder().display(), std::env::var("PATH").unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(shell);
    command.args(flags).args(["-c", script]).env("PATH", path).env("HOME", home.path()).stdin(Stdio::null());
    let output = match command.output() {
        Err(_) if shell == "fish" => {
            skipped("fish is not installed");
            return None;
        }
        Err(_) => {
            without(shell);
            return None;
        }
        Ok(output) => output,
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{shell}: {errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let script = r#"
        source <(baton-retool completion bash)
        # Bash accepts this built-in only in a completion that a user has asked for.
        compopt() { :; }
        function=$(complete -p baton-retool | sed 's/.*-F \([^ ]*\).*/\1/')
        ask() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            "$function" baton-retool "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[@]}"
        }
        ask baton-retool cap
        ask baton-retool sync --skip-pa
        ask baton-retool show g
        ask baton-retool completion p
        ask baton-retool capabilities --connection
        ask baton-retool --log-level ""
        ask baton-retool --log-format c
        ask baton-retool --grant-principal-type ""
        ask baton-retool --client-id ""
        ask baton-retool setup-sql --provisioning p
        ask baton-retool ""
    "#;
    let Some(printed) = in_shell("bash", &["--norc", "--noprofile"], script) else { return };
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[..3], ["capabilities", "--skip-pages", "grants"], "{printed}");
    assert!(lines[3].contains("powershell"), "{printed}");
    assert_eq!(lines[4], "", "a command completes its own flags only");
    assert_eq!(lines[5], "debug info warn error dpanic panic fatal", "{printed}");
    assert_eq!(lines[6..10], ["console", "user group", "", "pages"], "{printed}");
    let all: Vec<_> = lines[10].split(' ').collect();
    assert!(all.contains(&"capabilities") && all.contains(&"--file"), "{printed}");
    assert!(!all.contains(&"_connector-service"), "{printed}");
}

#[test]
fn fish_completes_commands_and_values() {
    let script = r#"
        baton-retool completion fish | source
        complete -C "baton-retool " | string split -f 1 \t | string join " "
        complete -C "baton-retool --log-level " | string split -f 1 \t | string join " "
    "#;
    let Some(printed) = in_shell("fish", &["--no-config"], script) else { return };
    let lines: Vec<_> = printed.lines().collect();
    let all: Vec<_> = lines[0].split(' ').collect();
    assert!(all.contains(&"capabilities") && !all.contains(&"_connector-service"), "{printed}");
    assert!(
        ["debug", "fatal"].iter().all(|level| lines[1].split(' ').any(|word| word == *level)),
        "{printed}"
    );
}

#[test]
fn no_script_offers_the_hidden_command() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = program().args(["completion", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("capabilities") && script.contains("log-level"), "{shell}");
        assert!(!script.contains("connector-service") && !script.contains("elvish"), "{shell}");
        // PowerShell's generator has no values of options.
        assert!(shell == "powershell" || script.contains("dpanic"), "{shell}");
    }
}

#[test]
fn an_unknown_shell_is_answered_with_the_names_of_the_shells() {
    let output = program().args(["completion", "tcsh"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.starts_with("error: invalid value 'tcsh' for '<SHELL>'"), "{errors}");
    assert!(errors.contains("bash, zsh, fish, powershell]"), "{errors}");
}

#[test]
fn zsh_accepts_the_completions() {
    let script = r#"
        autoload -U compinit && compinit -u -d "$HOME/dump"
        source <(baton-retool completion zsh)
        print -r -- "$_comps[baton-retool]"
        whence -w "$_comps[baton-retool]"
    "#;
    let Some(printed) = in_shell("zsh", &["-f"], script) else { return };
    assert_eq!(printed, "_baton-retool\n_baton-retool: function\n");
}

#[test]
fn completions_can_omit_descriptions() {
    let script = |flags: &[&str]| {
        let output = program().args(["completion", "fish"]).args(flags).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (with, without) = (script(&[]), script(&["--no-descriptions"]));
    let words = "Connection string of Retool";
    assert!(with.contains(words) && !without.contains(words), "{without}");
    assert!(without.contains("connection-string"));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let output = program().args(["man", "--directory", pages.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut names: Vec<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in
        ["baton-retool.1", "baton-retool-sync.1", "baton-retool-show-grants.1", "baton-retool-serve.1"]
    {
        assert!(names.iter().any(|known| known == name), "no {name} in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("_connector-service")), "{names:?}");
    let page = fs::read_to_string(pages.join("baton-retool.1")).unwrap();
    let printed = program().arg("man").output().unwrap();
    assert!(page.contains("BATON_CONNECTION_STRING") && page.contains("grant\\-entitlement"), "{page}");
    assert!(String::from_utf8(printed.stdout).unwrap().contains(".TH baton-retool"));
}
