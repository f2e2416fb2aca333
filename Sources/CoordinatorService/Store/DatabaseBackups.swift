import ControlProtocol
import Files
import Foundation
import Logging
import Synchronization

/// Makes backups for operators, one at a time, in the directory that the configuration file names.
package final class DatabaseBackups: Sendable {
    private struct State {
        var task: Task<Int, any Error>?
        var isStopping = false
    }

    private let store: CoordinatorStore
    private let directory: String?
    private let logger: Logger
    private let pagesPerStep: Int32
    private let betweenSteps: @Sendable () async throws -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - directory: nil: none is configured.
    ///   - pagesPerStep: see `CoordinatorStore.backUp`, as for `betweenSteps`.
    package init(
        store: CoordinatorStore, directory: String?, logger: Logger,
        pagesPerStep: Int32 = CoordinatorStore.pagesPerStep,
        betweenSteps: @escaping @Sendable () async throws -> Void = {}
    ) {
        self.store = store
        self.directory = directory
        self.logger = logger
        self.pagesPerStep = pagesPerStep
        self.betweenSteps = betweenSteps
    }

    /// Breaks off the backup that is being made; no other one begins.
    package func stop() {
        state.withLock { state in
            state.isStopping = true
            state.task?.cancel()
        }
    }

    /// Removes what backups left in the directory whose coordinator was killed. Before there are others.
    package func removeLeftovers() {
        guard let directory, let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else { return }
        let suffixes = CoordinatorStore.databaseSuffixes.map { ".partial" + $0 }
        for name in names where name.hasPrefix(".") && suffixes.contains(where: name.dropFirst().hasSuffix) {
            let path = URL(fileURLWithPath: directory, isDirectory: true).appending(path: name).path
            guard unlink(path) == 0 else { continue }
            logger.notice("a part of a backup was removed", metadata: ["file": "\(name)"])
        }
    }

    package func answer(_ request: BackUpDatabase) async throws(ControlError) -> DatabaseBackedUp {
        guard let directory else {
            throw ControlError(
                .unsupported, "the coordinator's configuration file names no backup_directory; see docs/operations.md")
        }
        let url = URL(fileURLWithPath: directory, isDirectory: true).appending(path: request.file)
        guard !DurableFile.exists(url.path) else { throw Self.exists(request.file) }
        guard state.withLock({ $0.task == nil }) else { throw Self.isBusy }
        if request.dryRun {
            guard access(directory, W_OK | X_OK) == 0 else { throw Self.failed(FileError(directory)) }
            return DatabaseBackedUp(file: request.file, bytes: nil)
        }
        let task = try begin(url)
        defer { state.withLock { $0.task = nil } }
        do {
            let bytes = try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
            logger.notice("the database was backed up", metadata: ["file": "\(request.file)", "bytes": "\(bytes)"])
            return DatabaseBackedUp(file: request.file, bytes: bytes)
        } catch let error as FileError where error.code == EEXIST && error.path == url.path {
            throw Self.exists(request.file)
        } catch  where error is CancellationError || task.isCancelled {
            logger.notice("a backup was broken off", metadata: ["file": "\(request.file)"])
            throw Self.isEnding
        } catch {
            logger.error("there is no backup", metadata: ["reason": "\(StoreError.reason(error))"])
            throw Self.failed(error)
        }
    }

    private func begin(_ url: URL) throws(ControlError) -> Task<Int, any Error> {
        let task = state.withLock { state -> Result<Task<Int, any Error>, ControlError> in
            guard !state.isStopping else { return .failure(Self.isEnding) }
            guard state.task == nil else { return .failure(Self.isBusy) }
            let task = Task { [store, pagesPerStep, betweenSteps] in
                try await store.backUp(to: url, pagesPerStep: pagesPerStep, betweenSteps: betweenSteps)
            }
            state.task = task
            return .success(task)
        }
        return try task.get()
    }

    private static let isBusy = ControlError(.overloaded, "another backup is being made; try again when it is done")
    private static let isEnding = ControlError(.overloaded, "the coordinator is ending; back up again when it is back")

    private static func exists(_ file: String) -> ControlError {
        ControlError(.conflict, "there is a backup \(file) already; choose another name")
    }

    private static func failed(_ error: any Error) -> ControlError {
        ControlError(.storageUnavailable, "the backup could not be made (\(StoreError.reason(error)))")
    }
}
