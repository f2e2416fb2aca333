import Foundation

/// The files of prepared data, which take the place of those of earlier data together.
struct DataFiles {
    let training: NewFile
    let validation: NewFile
    let tokenizer: NewFile
    let metadata: NewFile
    private let folder: String

    /// Opens all of them, also those that turn out not to be needed, so that nothing stays of a process that was killed.
    init(folder: String) throws(TokenDataError) {
        func file(_ name: String) throws(TokenDataError) -> NewFile {
            try NewFile(path: URL(fileURLWithPath: folder).appending(path: name).path)
        }
        // Its lock is held the longest.
        training = try file("train.bin")
        validation = try file("val.bin")
        tokenizer = try file(Tokenizer.tokenizerFileName)
        metadata = try file(Tokenizer.metadataFileName)
        self.folder = folder
    }

    /// Syncs the files and gives them their names. The old `train.bin` goes first and the new one comes last, so that wherever
    /// this stops, also by a power cut, the folder has the earlier data, the new, or none that can be trained on.
    /// - Parameters:
    ///   - hasValidation: when not, a `val.bin` of earlier data goes as well.
    ///   - hasTokenizer: when not, `meta.json` does not tell of a `tokenizer.json`, and one that is there stays.
    func commit(hasValidation: Bool, hasTokenizer: Bool) throws(TokenDataError) {
        for file in [training, validation, tokenizer, metadata] { try file.sync() }
        try remove(training.path)
        try syncFolder()
        if hasValidation {
            try validation.commit()
        } else {
            try remove(validation.path)
        }
        if hasTokenizer { try tokenizer.commit() }
        try metadata.commit()
        try syncFolder()
        try training.commit()
        try syncFolder()
    }

    private func remove(_ path: String) throws(TokenDataError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw .lastSystemError(writing: path) }
    }

    /// Makes sure that the names are on the disk.
    private func syncFolder() throws(TokenDataError) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .lastSystemError(writing: folder) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .lastSystemError(writing: folder) }
    }
}
