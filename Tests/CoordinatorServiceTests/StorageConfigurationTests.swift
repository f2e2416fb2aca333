import ControlTestSupport
import CoordinatorService
import Foundation
import Testing

struct StorageConfigurationTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func read(_ text: String) throws -> StorageConfiguration {
        try text.write(toFile: folder.path("moe.yaml"), atomically: true, encoding: .utf8)
        return try StorageConfiguration(file: folder.path("moe.yaml"))
    }

    @Test func aFileSaysWhatIsKept() throws {
        let configuration = try read("listen: 127.0.0.1:7700\nbackup_directory: \(folder.url.path)\ntelemetry_days: 7")
        #expect(configuration == StorageConfiguration(backupDirectory: folder.url.path, telemetryDays: 7))
        #expect(try read("# nothing\n") == StorageConfiguration(backupDirectory: nil, telemetryDays: 30))
    }

    @Test(
        arguments: [
            ("backup_directory: /no/such/directory", "backup_directory must"),
            ("backup_directory: [a]", "backup_directory"),
            ("backup_directory: \"\"", "backup_directory"), ("telemetry_days: 0", "from 0.01 to 36500"),
            ("telemetry_days: .nan", "telemetry_days"), ("telemetry_days: a month", "telemetry_days"),
            ("a: [", "moe.yaml"),
        ])
    func mistakesAreNamed(text: String, reason: String) throws {
        let error = #expect(throws: StorageConfigurationError.self) { try read(text) }
        #expect("\(String(describing: error))".contains(reason), "\(String(describing: error))")
    }
}
