//! Reads one data file: its checksum and, in the same pass, its events.

use std::{
    fs::File,
    io::{self, BufRead, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::{
    events::{EventReader, Events},
    hash::{Hasher, Sha256},
    names::DataName,
    progress::Progress,
};

const BUFFER_BYTES: usize = 128 * 1024;

/// More than most files of events shrink by. Deflate reaches 1,032.
const MAX_RATIO: u64 = 200;
const BOMB: &str = "it unpacks to more than events do";

/// Memory that a thread uses for one file after the other.
pub(crate) struct Scratch {
    stored: Vec<u8>,
    unpacked: Vec<u8>,
    line: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { stored: vec![0; BUFFER_BYTES], unpacked: vec![0; BUFFER_BYTES], line: Vec::new() }
    }
}

/// A data file as it is.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub(crate) sha256: Sha256,
    /// As stored.
    pub(crate) bytes: u64,
    /// Or why it isn't a file of events.
    pub(crate) events: Result<Events, String>,
}

/// Reads a data file once, from its beginning to its end. Only one that is as it was signed is unpacked whatever it has.
pub(crate) fn read(
    path: &Path,
    name: &DataName,
    signed: Sha256,
    scratch: &mut Scratch,
    progress: &Progress,
) -> io::Result<DataFile> {
    let file = read_once(path, name, MAX_RATIO, scratch, progress)?;
    let is_bomb = file.sha256 == signed && file.events.as_ref().is_err_and(|reason| reason == BOMB);
    if is_bomb { read_once(path, name, u64::MAX, scratch, progress) } else { Ok(file) }
}

fn read_once(
    path: &Path,
    name: &DataName,
    max_ratio: u64,
    scratch: &mut Scratch,
    progress: &Progress,
) -> io::Result<DataFile> {
    let Scratch { stored, unpacked, line } = scratch;
    let mut source =
        Source { file: File::open(path)?, buffer: stored, at: 0..0, hasher: Hasher::new(), bytes: 0, progress };
    let mut reader = EventReader::new(name.format, name.window, line);
    let events = if name.is_gzip {
        let unzipped = unzip(&mut source, max_ratio, unpacked, &mut reader)?;
        unzipped.and_then(|()| reader.finish())
    } else {
        while let pushed @ 1.. = {
            let bytes = source.fill_buf()?;
            reader.push(bytes);
            bytes.len()
        } {
            source.consume(pushed);
        }
        reader.finish()
    };
    source.drain()?;
    Ok(DataFile { sha256: source.hasher.finish(), bytes: source.bytes, events })
}

/// Hashes a file that isn't known to hold events.
pub(crate) fn hash(path: &Path, scratch: &mut Scratch, progress: &Progress) -> io::Result<Sha256> {
    let buffer = &mut scratch.stored;
    let mut source = Source { file: File::open(path)?, buffer, at: 0..0, hasher: Hasher::new(), bytes: 0, progress };
    source.drain()?;
    Ok(source.hasher.finish())
}

/// The outer error is the file's, the inner one that of its content. Stops where the content can't be that of a data file.
fn unzip(
    source: &mut Source<'_>,
    max_ratio: u64,
    unpacked: &mut [u8],
    reader: &mut EventReader<'_>,
) -> io::Result<Result<(), String>> {
    let mut decoder = MultiGzDecoder::new(&mut *source);
    let mut unpacked_bytes = 0_u64;
    loop {
        match decoder.read(unpacked) {
            Ok(0) => return Ok(Ok(())),
            Ok(bytes) => {
                unpacked_bytes += bytes as u64;
                // The buffer holds bytes that were read and not unpacked yet, so a small file is no exception.
                if unpacked_bytes > decoder.get_ref().bytes.saturating_mul(max_ratio) {
                    return Ok(Err(BOMB.to_owned()));
                }
                reader.push(&unpacked[..bytes]);
                if reader.has_failed() {
                    return Ok(Ok(()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_content(&error) => return Ok(Err(format!("it can't be unpacked: {error}"))),
            Err(error) => return Err(error),
        }
    }
}

fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// A file that is hashed as it is read.
struct Source<'a> {
    file: File,
    buffer: &'a mut [u8],
    /// What of the buffer isn't consumed.
    at: std::ops::Range<usize>,
    hasher: Hasher,
    bytes: u64,
    progress: &'a Progress,
}

impl Source<'_> {
    /// Reads to the end.
    fn drain(&mut self) -> io::Result<()> {
        while !self.fill_buf()?.is_empty() {
            self.at = 0..0;
        }
        Ok(())
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at.is_empty() {
            let read = loop {
                match self.file.read(self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            self.at = 0..read;
            self.hasher.update(&self.buffer[..read]);
            self.bytes += read as u64;
            self.progress.add(read as u64);
        }
        Ok(&self.buffer[self.at.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.at.start = (self.at.start + amount).min(self.at.end);
    }
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let amount = available.len().min(into.len());
        into[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const NAME: &str = "20261121T100000Z_20261121T110000Z_0001.ndjson.gz";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read_bytes(bytes: &[u8], signed: Sha256) -> DataFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let name = DataName::parse(NAME).unwrap();
        read(file.path(), &name, signed, &mut Scratch::new(), &Progress::hidden()).unwrap()
    }

    #[test]
    fn a_file_is_hashed_to_its_end_wherever_unpacking_stops() {
        let begins_wrong = [b"no event\n".to_vec(), vec![b'x'; 1 << 20]].concat();
        let bomb = [b"{}\n".to_vec(), vec![b' '; 8 << 20]].concat();
        let garbage = [gzip(b"{}\n"), b"garbage".to_vec()].concat();
        for (bytes, reason) in [
            (gzip(&begins_wrong), "line 1 is not a JSON object"),
            (gzip(&bomb), "more than events do"),
            (garbage, "can't be unpacked"),
        ] {
            let file = read_bytes(&bytes, Sha256::new(b"other"));
            assert_eq!((file.sha256, file.bytes), (Sha256::new(&bytes), bytes.len() as u64));
            let error = file.events.unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_signed_file_may_shrink_as_much_as_it_likes() {
        let repetitive = gzip(&b"{}\n".repeat(1 << 20));
        assert_eq!(read_bytes(&repetitive, Sha256::new(&repetitive)).events.unwrap().lines, 1 << 20);
    }
}
