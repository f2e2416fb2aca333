import ControlProtocol
import Foundation
import Logging

/// Makes backups for operators, one at a time, in the directory that the configuration file names.
actor DatabaseBackups {
    private let store: CoordinatorStore
    private let directory: String?
    private let logger: Logger
    private var isBusy = false

    /// - Parameter directory: nil: none is configured.
    init(store: CoordinatorStore, directory: String?, logger: Logger) {
        self.store = store
        self.directory = directory
        self.logger = logger
    }

    func answer(_ request: BackUpDatabase) async throws(ControlError) -> DatabaseBackedUp {
        guard let directory else {
            throw ControlError(
                .unsupported, "the coordinator's configuration file names no backup_directory; see docs/operations.md")
        }
        let url = URL(fileURLWithPath: directory, isDirectory: true).appending(path: request.file)
        guard !DurableFile.exists(url.path) else { throw Self.exists(request.file) }
        guard !isBusy else {
            throw ControlError(.overloaded, "another backup is being made; try again when it is done")
        }
        if request.dryRun {
            guard access(directory, W_OK | X_OK) == 0 else { throw Self.failed(FileError(directory)) }
            return DatabaseBackedUp(file: request.file, bytes: nil)
        }
        isBusy = true
        defer { isBusy = false }
        do {
            let bytes = try await store.backUp(to: url)
            logger.notice("the database was backed up", metadata: ["file": "\(request.file)", "bytes": "\(bytes)"])
            return DatabaseBackedUp(file: request.file, bytes: bytes)
        } catch let error as FileError where error.code == EEXIST && error.path == url.path {
            throw Self.exists(request.file)
        } catch {
            logger.error("there is no backup", metadata: ["reason": "\(StoreError.reason(error))"])
            throw Self.failed(error)
        }
    }

    private static func exists(_ file: String) -> ControlError {
        ControlError(.conflict, "there is a backup \(file) already; choose another name")
    }

    private static func failed(_ error: any Error) -> ControlError {
        ControlError(.storageUnavailable, "the backup could not be made (\(StoreError.reason(error)))")
    }
}
