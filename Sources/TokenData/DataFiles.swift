import Files
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
            try TokenDataError.writing { () throws(FileError) in try NewFile(path: "\(folder)/\(name)") }
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
        try TokenDataError.writing { () throws(FileError) in
            for file in [training, validation, tokenizer, metadata] { try file.sync() }
            // If that cannot be, nothing has gone yet.
            try FilePath.syncDirectory(folder)
            try remove(training.path)
            try FilePath.syncDirectory(folder)
            if hasValidation {
                try validation.commit()
            } else {
                try remove(validation.path)
            }
            if hasTokenizer { try tokenizer.commit() }
            try metadata.commit()
            try FilePath.syncDirectory(folder)
            try training.commit()
            try FilePath.syncDirectory(folder)
        }
    }

    private func remove(_ path: String) throws(FileError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw FileError(path) }
    }
}
