import Foundation
import Logging
import StructuredLogs
import Synchronization
import Testing

struct JSONLogHandlerTests {
    private final class Lines: Sendable {
        let data = Mutex(Data())

        var objects: [[String: Any]] {
            get throws {
                try data.withLock { $0 }.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
                    .dropLast()
                    .map { try JSONSerialization.jsonObject(with: $0) as? [String: Any] ?? [:] }
            }
        }

        func logger(_ label: String = "test") -> Logger {
            Logger(label: label) { label in
                JSONLogHandler(label: label) { line in self.data.withLock { $0 += line } }
            }
        }
    }

    @Test func everyRecordIsALineWithAnObject() throws {
        let lines = Lines()
        var logger = lines.logger("moe.test")
        logger.logLevel = .trace
        logger[metadataKey: "run"] = "demo"
        let nasty = "two\nlines \"quoted\" \\ \u{0} \u{1F600} \u{2028}"
        logger.warning("\(nasty)", metadata: ["list": ["a", "b"], "object": ["n": "\(7)"], "run": "other"])
        logger.trace("plain")
        let objects = try lines.objects
        #expect(objects.count == 2)
        #expect(objects[0]["message"] as? String == nasty)
        #expect(objects[0]["level"] as? String == "warning")
        #expect(objects[0]["logger"] as? String == "moe.test")
        let metadata = try #require(objects[0]["metadata"] as? [String: Any])
        #expect(metadata["run"] as? String == "other")
        #expect(metadata["list"] as? [String] == ["a", "b"])
        #expect(metadata["object"] as? [String: String] == ["n": "7"])
        #expect((objects[1]["metadata"] as? [String: String]) == ["run": "demo"])
        let time = try #require(objects[1]["time"] as? String)
        let date = try Date(time, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        #expect(abs(date.timeIntervalSinceNow) < 60)
    }

    @Test func lessThanTheLevelIsNotWritten() throws {
        let lines = Lines()
        let logger = lines.logger()
        logger.info("no")
        logger.notice("yes")
        #expect(try lines.objects.count == 1)
        #expect(try lines.objects.first?["metadata"] == nil)
    }
}
