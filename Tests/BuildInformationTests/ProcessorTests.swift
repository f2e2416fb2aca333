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

    /// Of what Linux calls by these flags in /proc/cpuinfo (arch/x86/include/asm/cpufeatures.h): word and bit, by CPUID.
    private static let sets = [
        ("sse4_2", 0, 20), ("avx", 0, 28), ("fma", 0, 12), ("avx2", 1, 5), ("bmi2", 1, 8), ("avx512f", 1, 16),
        ("avx512cd", 1, 28), ("avx512dq", 1, 17), ("avx512bw", 1, 30), ("avx512vl", 1, 31), ("avx512ifma", 1, 21),
        ("avx512vbmi", 2, 1), ("avx512_vnni", 2, 11), ("avx512_vbmi2", 2, 6), ("avx512_bitalg", 2, 12),
        ("avx512_vpopcntdq", 2, 14), ("gfni", 2, 8), ("vaes", 2, 9), ("avx_vnni", 4, 4), ("avx512_fp16", 3, 23),
        ("avx512_bf16", 4, 5),
    ]

    /// By the name of the one that it lacks, where these tests were compiled for that.
    @Test func aProcessorThatLacksOne() throws {
        let text = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
        let flags = try #require(text.split(separator: "\n").first { $0.hasPrefix("flags") }).split(separator: " ")
        var names = Set<String>()
        for word in 0..<Int(MOE_PROCESSOR_WORDS) {
            for bit in 0..<32 {
                var processor = [UInt32](repeating: .max, count: Int(MOE_PROCESSOR_WORDS))
                processor[word] &= ~(1 << UInt32(bit))
                guard let name = moe_missing_feature(processor).map({ String(cString: $0) }) else { continue }
                let flag = try #require(Self.sets.first { $0.1 == word && $0.2 == bit }, "\(name)").0
                #expect(Self.letters(flag) == Self.letters(name) && flags.contains(Substring(flag)), "\(name)")
                names.insert(flag)
            }
        }
        // All that have these have those (Intel's Ice Lake, AMD's Zen 4), and compilers know it.
        if names.contains("avx512_bf16") {
            let others: Set = [
                "avx512cd", "avx512ifma", "avx512_vbmi2", "avx512_bitalg", "avx512_vpopcntdq", "gfni", "vaes",
            ]
            #expect(names.isSuperset(of: others.filter { flags.contains(Substring($0)) }), "\(names)")
        }
    }

    private static func letters(_ name: String) -> String { name.lowercased().filter { $0.isLetter || $0.isNumber } }

    /// The oldest is named that these tests were compiled for; they run, so this machine has it.
    @Test func aProcessorThatHasNothing() throws {
        guard let name = missing(0) else { return }
        let text = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("flags") })
        let flag = name.lowercased().replacing(".", with: "_")
        #expect(line.split(separator: " ").contains(Substring(flag)), "\(name)")
    }
}
