import Foundation
import Yams

/// What the coordinator's configuration file says of the database: `backup_directory` and `telemetry_days`.
public struct StorageConfiguration: Hashable, Sendable {
    /// The keys of a configuration file that are read here.
    public static let fileKeys = ["backup_directory", "telemetry_days"]

    /// Where backups go; nil: there are none.
    public var backupDirectory: String?
    /// Days for which reports are kept.
    public var telemetryDays = 30.0

    public init(backupDirectory: String? = nil, telemetryDays: Double = 30) {
        self.backupDirectory = backupDirectory
        self.telemetryDays = telemetryDays
    }

    /// Reads the part of a YAML file that is about the database.
    /// - Throws: `StorageConfigurationError` naming the file, what is wrong and what may stand there.
    public init(file path: String) throws(StorageConfigurationError) {
        self.init()
        func mistake(_ reason: String) -> StorageConfigurationError {
            StorageConfigurationError(description: "cannot use the configuration file \(path): \(reason)")
        }
        let root: Node.Mapping?
        do {
            let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
            root = try Yams.compose(yaml: text)?.mapping
        } catch {
            throw mistake("\(error)")
        }
        if let node = root?["backup_directory"] {
            var isDirectory: ObjCBool = false
            guard let directory = node.string, !directory.isEmpty,
                FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory), isDirectory.boolValue
            else { throw mistake("backup_directory must name a directory that is there") }
            backupDirectory = directory
        }
        if let node = root?["telemetry_days"] {
            guard let days = node.float, (0.01...36_500).contains(days) else {
                throw mistake("telemetry_days must be a number from 0.01 to 36500")
            }
            telemetryDays = days
        }
    }
}

/// What is wrong with the configuration file.
public struct StorageConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
}
