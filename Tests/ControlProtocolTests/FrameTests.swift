import ControlProtocol
import ControlTestSupport
import Foundation
import TestSupport
import Testing

struct FrameTests {
    private let payloads = [Data("{}".utf8), Data(), Data((0..<700).map { UInt8(truncatingIfNeeded: $0) })]

    @Test func framesSurviveEveryCut() throws {
        let stream = try payloads.reduce(Data()) { try $0 + Frame.encode($1) }
        for cut in 0...stream.count {
            var decoder = FrameDecoder()
            var received = [Data]()
            for part in [stream.prefix(cut), stream.dropFirst(cut)] {
                decoder.append(part)
                while let payload = try decoder.next() { received.append(payload) }
            }
            #expect(received == payloads, "cut at \(cut)")
            #expect(decoder.pendingBytes == 0)
        }
    }

    @Test func framesComeByteByByte() throws {
        let stream = try payloads.reduce(Data()) { try $0 + Frame.encode($1) }
        var decoder = FrameDecoder()
        var received = [Data]()
        for byte in stream {
            decoder.append([byte])
            while let payload = try decoder.next() { received.append(payload) }
        }
        #expect(received == payloads)
    }

    @Test func manyFramesInRandomPieces() throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        let payloads = (0..<300).map { _ in
            Data((0..<Int.random(in: 0...9_000, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
        }
        var stream = try payloads.reduce(Data()) { try $0 + Frame.encode($1) }
        var decoder = FrameDecoder()
        var received = [Data]()
        while !stream.isEmpty {
            let count = min(stream.count, Int.random(in: 1...20_000, using: &random))
            decoder.append(stream.prefix(count))
            stream = stream.dropFirst(count)
            while let payload = try decoder.next() { received.append(payload) }
        }
        #expect(received == payloads, "seed \(seed)")
    }

    @Test func aLengthOverTheLimitIsRefusedBeforeAnythingElseComes() throws {
        var limits = Limits()
        limits.frameBytes = 1_000
        for length in [1_001, 1 << 24, Int(UInt32.max)] {
            var decoder = FrameDecoder(limits: limits)
            decoder.append([
                UInt8(length >> 24), UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255),
            ])
            let error = #expect(throws: ControlError.self) { try decoder.next() }
            #expect(error?.code == .limitExceeded)
            #expect(error?.message.contains("frame bytes") == true)
        }
        var decoder = FrameDecoder(limits: limits)
        decoder.append([0, 0, 3, 232])
        #expect(try decoder.next() == nil)
        #expect(throws: ControlError.self) { try Frame.encode(Data(count: 1_001), limits: limits) }
    }
}
