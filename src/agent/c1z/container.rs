//! The container of the database: the magic number, the zstd frame, and the atomic replacement of the old
//! file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use zstd::zstd_safe::CParameter;

use crate::agent::c1z::Error;

const MAGIC_V1: &[u8] = b"C1ZF\0";
const MAGIC_V3: &[u8] = b"C1Z3\0";

const MIB: u64 = 1 << 20;

/// The largest window is 512 KiB. Readers accept 128 MiB, and agents write 8 MiB. Rows repeat nearby content,
/// and packing on several threads needs a multiple of the window as memory.
const LARGEST_WINDOW_LOG: u32 = 19;

/// The hash table has 4,096 entries, which fit into the processor's nearest cache. A larger table takes longer
/// and saves nothing, because rows repeat the previous row.
const HASH_LOG: u32 = 12;

/// Higher levels save little on rows that repeat each other, and take several times as long.
const LEVEL: i32 = 1;

/// Limits for unpacking a file. A few hundred bytes can unpack to any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Maximum size of the database in bytes.
    pub decoded: u64,
    /// Maximum size of the window in bytes, which is memory.
    pub window: u64,
    /// Whether a file is rejected as soon as it declares too large a size. Otherwise, it is rejected only
    /// when the unpacked data exceeds the limit.
    pub trust_declared_size: bool,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { decoded: 10 * 1024 * MIB, window: 128 * MIB, trust_declared_size: true }
    }
}

impl DecodeLimits {
    /// The limits from the environment, or the defaults. The variables are the same for every agent:
    /// `BATON_DECODER_MAX_DECODED_SIZE_MB`, `BATON_DECODER_MAX_MEMORY_MB` and
    /// `BATON_DISABLE_FCS_FAIL_FAST=1`. Sizes that are not positive numbers are ignored.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mebibytes = |name| {
            let number = variable(name)?.trim().parse::<u64>().ok().filter(|number| *number > 0)?;
            Some(number.saturating_mul(MIB))
        };
        let default = Self::default();
        Self {
            decoded: mebibytes("BATON_DECODER_MAX_DECODED_SIZE_MB").unwrap_or(default.decoded),
            window: mebibytes("BATON_DECODER_MAX_MEMORY_MB").unwrap_or(default.window),
            trust_declared_size: variable("BATON_DISABLE_FCS_FAIL_FAST").as_deref() != Some("1"),
        }
    }

    fn window_log(self) -> u32 {
        // The range that the decoder supports, including on 32-bit machines.
        self.window.max(1).ilog2().clamp(10, 30)
    }
}

/// The kind of file at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// No file, or an empty one. A writer treats it as a new store.
    Nothing,
    /// A file of format v1.
    V1,
}

/// Detects the kind of a file by its first bytes. Devices, pipes and sockets are refused: opening a pipe can wait forever,
/// and a writer would replace a device with a file.
pub(super) fn look(path: &Path) -> Result<Found, Error> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(Error::Special { path: path.to_owned() });
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut magic = Vec::with_capacity(MAGIC_V1.len());
    file.take(MAGIC_V1.len() as u64).read_to_end(&mut magic).map_err(Error::io("read", path))?;
    match magic.as_slice() {
        [] => Ok(Found::Nothing),
        MAGIC_V1 => Ok(Found::V1),
        MAGIC_V3 => Err(Error::FormatV3 { path: path.to_owned() }),
        _ => Err(Error::Foreign { path: path.to_owned() }),
    }
}

/// Unpacks a file of format v1 to `database`.
pub(super) fn unpack(path: &Path, database: &Path, limits: DecodeLimits) -> Result<(), Error> {
    let mut packed = File::open(path).map_err(Error::io("read", path))?;
    let damaged = |error: io::Error| Error::damaged(path, error.to_string());
    let mut head = [0; 32];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match packed.read(rest).map_err(Error::io("read", path))? {
            0 => break,
            read => filled += read,
        }
    }
    let frame = head.get(MAGIC_V1.len()..filled).unwrap_or_default();
    let declared = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten();
    let too_large = || Error::TooLarge { path: path.to_owned(), limit_mib: limits.decoded / MIB };
    if limits.trust_declared_size && declared.is_some_and(|size| size > limits.decoded) {
        return Err(too_large());
    }
    packed.seek(io::SeekFrom::Start(MAGIC_V1.len() as u64)).map_err(Error::io("read", path))?;

    let mut decoder = zstd::Decoder::new(BufReader::with_capacity(1 << 18, packed)).map_err(damaged)?;
    decoder.window_log_max(limits.window_log()).map_err(damaged)?;
    let mut out = File::create(database).map_err(Error::io("write", database))?;
    let mut written = 0;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(error)),
        };
        written += read as u64;
        if written > limits.decoded {
            return Err(too_large());
        }
        out.write_all(buffer.get(..read).unwrap_or_default()).map_err(Error::io("write", database))?;
    }
    Ok(())
}

/// The file to write, which determines the names of its temporary files.
#[derive(Debug, Clone)]
pub(super) struct Target {
    path: PathBuf,
    folder: PathBuf,
    name: String,
}

impl Target {
    /// # Errors
    /// [`Error::Io`] if the path has no file name or its folder is missing.
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        let unusable = |kind| Error::io("write", path)(io::Error::from(kind));
        // A link stays a link: the file that it points to is replaced.
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        if real.is_dir() {
            return Err(unusable(io::ErrorKind::IsADirectory));
        }
        let file_name = real.file_name().ok_or_else(|| unusable(io::ErrorKind::InvalidFilename))?;
        let folder = match real.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder = fs::canonicalize(&folder).map_err(Error::io("write files in", &folder))?;
        Ok(Self { path: folder.join(file_name), name: file_name.to_string_lossy().into_owned(), folder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file whose lock protects the writing of the target. The target itself is replaced, and a lock on
    /// it would be lost.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.folder.join(format!(".{}.lock", self.name))
    }

    /// Removes temporary files that killed processes left next to the target, and checks that its folder is
    /// writable. Only the holder of the lock may call this.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        let refused = Error::io("write files in", &self.folder);
        for entry in fs::read_dir(&self.folder).map_err(refused)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.is_temporary(&name) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        self.temporary().map(drop)
    }

    /// Packs a database of `size` bytes on several threads and replaces the target with the result. Calls
    /// `write` once; it passes on the database piece by piece. Returns the size of the file in bytes.
    pub(super) fn replace(
        &self,
        size: u64,
        threads: usize,
        write: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let temporary = self.temporary()?;
        pack(size, temporary.as_file(), temporary.path(), threads, write)?;
        let size = temporary.as_file().metadata().map_err(Error::io("read", temporary.path()))?.len();
        temporary.as_file().sync_all().map_err(Error::io("write", temporary.path()))?;
        temporary
            .persist(&self.path)
            .map_err(|error| Error::io("replace", &self.path)(error.error))?
            .sync_all()
            .map_err(Error::io("write", &self.path))?;
        sync_folder(&self.folder)?;
        Ok(size)
    }

    fn temporary(&self) -> Result<tempfile::NamedTempFile, Error> {
        let mut builder = tempfile::Builder::new();
        let prefix = self.temporary_prefix();
        builder.prefix(&prefix).rand_bytes(RANDOM).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // The same mode as the replaced file; the umask of the process still applies.
            let mode = fs::metadata(&self.path).map_or(0o644, |there| there.permissions().mode() & 0o777);
            builder.permissions(fs::Permissions::from_mode(mode));
        }
        builder.tempfile_in(&self.folder).map_err(Error::io("write files in", &self.folder))
    }

    fn temporary_prefix(&self) -> String {
        format!(".{}.baton-", self.name)
    }

    /// Whether a file with this name is a temporary file of this target. The name of another target can begin
    /// with the name of this one.
    fn is_temporary(&self, name: &str) -> bool {
        let random = name.strip_prefix(&self.temporary_prefix()).and_then(|rest| rest.strip_suffix(SUFFIX));
        random.is_some_and(|random| {
            random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    }
}

/// The end of the name of a temporary file.
const SUFFIX: &str = ".tmp";
/// How many random characters precede it.
const RANDOM: usize = 6;

fn pack(
    size: u64,
    out: &File,
    out_path: &Path,
    threads: usize,
    write: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = || Error::io("write", out_path);
    let mut out = BufWriter::with_capacity(1 << 18, out);
    out.write_all(MAGIC_V1).map_err(failed())?;
    let mut encoder = zstd::Encoder::new(&mut out, LEVEL).map_err(failed())?;
    encoder.include_checksum(true).map_err(failed())?;
    encoder.include_contentsize(true).map_err(failed())?;
    // The encoder fails unless exactly this many bytes are written.
    encoder.set_pledged_src_size(Some(size)).map_err(failed())?;
    // Smaller than the content. Otherwise the frame is a single segment, which needs memory of its size to
    // unpack.
    let window = size.saturating_sub(1).max(1).ilog2();
    encoder.window_log(window.clamp(10, LARGEST_WINDOW_LOG)).map_err(failed())?;
    encoder.set_parameter(CParameter::HashLog(HASH_LOG)).map_err(failed())?;
    if threads > 1 {
        encoder.multithread(u32::try_from(threads).unwrap_or(1)).map_err(failed())?;
    }
    write(&mut |piece| encoder.write_all(piece).map_err(failed()))?;
    encoder.finish().map_err(failed())?;
    out.flush().map_err(failed())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<(), Error> {
    let opened = File::open(folder).map_err(Error::io("read", folder))?;
    match opened.sync_all() {
        // Some file systems do not support this; the file itself is safe.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other.map_err(Error::io("write", folder)),
    }
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> Result<(), Error> {
    Ok(())
}
