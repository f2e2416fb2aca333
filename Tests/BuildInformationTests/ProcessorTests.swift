import CBuildInformation
import Foundation
import Testing

/// What programs were compiled for, beside what a processor says of itself.
@Suite struct ProcessorTests {
    private func missing(_ words: UInt32) -> String? {
        let processor = [UInt32](repeating: words, count: Int(MOE_PROCESSOR_WORDS))
        return moe_missing_feature(processor).map { String(cString: $0) }
    }

    @Test func aProcessorThatHasAll() {
        #expect(missing(.max) == nil)
    }

    /// The oldest is named that these tests were compiled for; they run, so this machine has it.
    @Test func aProcessorThatHasNothing() throws {
        guard let name = missing(0) else { return }
        let text = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("flags") })
        let flag = name.lowercased().replacing(".", with: "_")
        #expect(line.split(separator: " ").contains(Substring(flag)), "\(name)")
    }
}
