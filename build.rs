//! Compiles `proto/` into Rust code and into the descriptor set for reflection and validation.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use prost_types::DescriptorProto;
use prost_types::field_descriptor_proto::{Label, Type};
use protox::Compiler;

const PROTO: &str = "proto";
/// The file with the commit in an archive; `.gitattributes` makes git fill it in.
const ARCHIVED: &str = "packaging/commit";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    println!("cargo:rerun-if-changed=build.rs");

    describe_build();

    let mut files = Vec::new();
    collect(Path::new(PROTO), &mut files)?;
    files.sort();

    let mut compiler = Compiler::new([PROTO])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    // The comments in the source info become the documentation of the generated code.
    let mut documented = compiler.file_descriptor_set();
    for file in documented.file.iter_mut().filter(|file| file.syntax() == "proto3") {
        pack_numbers(&mut file.message_type);
    }
    // The encoded form keeps the validation options, which the decoded form would lose.
    let embedded = compiler.include_source_info(false).encode_file_descriptor_set();
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"), embedded)?;

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names().type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure()
        .codec_path("crate::proto::codec::Codec")
        .extern_path(
            ".c1.connector.v2.GrantsServiceListGrantsResponse",
            "crate::proto::grants::GrantsServiceListGrantsResponse",
        )
        .extern_path(".google.rpc.Status", "::tonic_types::pb::Status")
        // With ordered maps, equal messages have equal bytes.
        .btree_map(".")
        // These messages contain secrets; `src/proto/secret.rs` implements `Debug` without the secrets.
        .skip_debug([
            ".c1.utls.v1.Credential",
            ".c1.connector.v2.PlaintextData",
            ".c1.connector.v2.LocalCredentialOptions.PlaintextPassword",
        ])
        .compile_fds_with_config(documented, config)?;
    Ok(())
}

/// Sets the commit and the target of the build for the program. The commit is the value of the variable
/// `BATON_RETOOL_COMMIT`, else the commit of the source archive, else the checked-out commit. A development
/// build does not call git, because every commit would then recompile everything.
fn describe_build() {
    println!("cargo:rerun-if-env-changed=BATON_RETOOL_COMMIT");
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let released = variable("PROFILE").is_some_and(|profile| profile == "release");
    let commit = variable("BATON_RETOOL_COMMIT")
        .or_else(archive_commit)
        .or_else(|| released.then(git_commit).flatten());
    println!("cargo:rustc-env=BATON_RETOOL_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo:rustc-env=BATON_RETOOL_TARGET={}", variable("TARGET").as_deref().unwrap_or("unknown"));
}

/// The commit of the source archive, which `git archive` writes into this file; `None` elsewhere.
fn archive_commit() -> Option<String> {
    let text = fs::read_to_string(ARCHIVED).ok()?;
    println!("cargo:rerun-if-changed={ARCHIVED}");
    let commit = text.trim();
    let is_commit = commit.len() >= 40 && commit.bytes().all(|letter| letter.is_ascii_hexdigit());
    is_commit.then(|| commit.to_owned())
}

/// The checked-out commit; `None` without git, or if the source is in another repository.
fn git_commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let here = env::current_dir().and_then(fs::canonicalize).ok()?;
    if fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()? != here {
        return None;
    }
    // Both files change with a commit: the file with the branch name, and its log.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// Marks every repeated number as packed, which is the default of proto3. The generator would treat a field
/// with any option, such as a validation rule, as not packed.
fn pack_numbers(messages: &mut [DescriptorProto]) {
    for message in messages {
        for field in message.field.iter_mut().filter(|field| field.label() == Label::Repeated) {
            let number = !matches!(field.r#type(), Type::String | Type::Bytes | Type::Message | Type::Group);
            if let Some(options) = field.options.as_mut().filter(|_| number) {
                options.packed.get_or_insert(true);
            }
        }
        pack_numbers(&mut message.nested_type);
    }
}

/// Adds every `.proto` file below `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
