import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Foundation
import TestSupport
import Testing

/// Reports have a way past Foundation's coders, which leads to the same.
struct PlainReportTests {
    private static func random(_ random: inout SeededGenerator) -> Report {
        var sample = Samples.sample(firstStep: Int.random(in: 0...1 << 40, using: &random))
        sample.phaseSeconds = [:]
        for phase in 0..<Int.random(in: 0...20, using: &random) {
            let seconds = [0, 1, 1e-300, 1e8, 12_345_678.5, Double.random(in: 0...1, using: &random)]
            sample.phaseSeconds["phase \(phase)"] = seconds.randomElement(using: &random)
        }
        if Bool.random(using: &random) { sample.loss = Double.random(in: 0...10, using: &random) }
        if Bool.random(using: &random) { sample.expertRows = Int.random(in: 0...1 << 53, using: &random) }
        if Bool.random(using: &random) { sample.expertWork = 0 }
        if Bool.random(using: &random) { sample.expertLoads = [[1, 2, 3], [], [0]] }
        if sample.expertLoads != nil, Bool.random(using: &random) { sample.droppedTokens = [1 << 53, 0, 1] }
        return Samples.report(
            rank: Int.random(in: 0..<100, using: &random), sequence: Int.random(in: 1...1 << 53, using: &random),
            sample: sample)
    }

    @Test func whatWorkersSendIsReadWithoutTheGeneralDecoder() throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        for id in 0..<TestRuns.count(1_000, soak: 100_000) {
            let report = Self.random(&random)
            let payload = try MessageCodec.frame(report, requestID: id).dropFirst(Frame.headerBytes)
            let read = try #require(IncomingRequest(plainReport: payload, limits: .standard), "seed \(seed)")
            #expect(read.requestID == id)
            #expect(try read.request.get() == .report(report), "seed \(seed)")
        }
    }

    private static func randomReports(_ random: inout SeededGenerator) -> Reports {
        var sequence = 0
        let reports = (0..<Int.random(in: 1...5, using: &random)).map { _ in
            sequence += Int.random(in: 1...3, using: &random)
            return Reports.Item(sequence: sequence, sample: self.random(&random).sample)
        }
        return Reports(run: "shakespeare", incarnation: 1, rank: 1, reports: reports)
    }

    @Test func soAreSeveralInOneFrame() throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        for id in 0..<TestRuns.count(200, soak: 20_000) {
            let reports = Self.randomReports(&random)
            let payload = try MessageCodec.frame(reports, requestID: id).dropFirst(Frame.headerBytes)
            let read = try #require(IncomingRequest(plainReport: payload, limits: .standard), "seed \(seed)")
            #expect(read.requestID == id)
            #expect(try read.request.get() == .reports(reports), "seed \(seed)")
        }
    }

    /// In a frame they stand in their order, each once.
    @Test(arguments: [[2, 1], [1, 1], [1, 3, 2]]) func sequencesOfOneFrameCountUp(sequences: [Int]) throws {
        var reports = Samples.reports(1...sequences.count)
        for (index, sequence) in sequences.enumerated() { reports.reports[index].sequence = sequence }
        let error = #expect(throws: ControlError.self) { try reports.validate(within: .standard) }
        #expect(error?.code == .badRequest)
    }

    /// Whatever becomes of a report on its way, either both ways have the same result or the short one has none.
    @Test func damagedReportsAreReadAlike() throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("0123456789.eE+-,:{}[]\" \n\\/tfnaN\u{7F}\u{E9}".utf8) + [0, 0xFF]
        var read = 0
        for _ in 0..<TestRuns.count(20_000, soak: 2_000_000) {
            let frame =
                try Bool.random(using: &random)
                ? MessageCodec.frame(Self.random(&random), requestID: 7)
                : MessageCodec.frame(Self.randomReports(&random), requestID: 7)
            var payload = Data(frame.dropFirst(Frame.headerBytes))
            for _ in 0..<Int.random(in: 1...2, using: &random) where !payload.isEmpty {
                let place = Int.random(in: 0..<payload.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: payload[place] = alphabet.randomElement(using: &random) ?? 0
                case 1: payload.insert(alphabet.randomElement(using: &random) ?? 0, at: place)
                case 2: payload.remove(at: place)
                default:
                    payload =
                        payload.prefix(place) + payload.dropFirst(Int.random(in: 0..<payload.count, using: &random))
                }
                payload = Data(payload)
            }
            guard let plain = IncomingRequest(plainReport: payload, limits: .standard) else { continue }
            read += 1
            let general = MessageCodec.decodedRequest(payload, limits: .standard)
            let text = String(decoding: payload, as: UTF8.self)
            #expect(plain.requestID == general.requestID, "seed \(seed): \(text)")
            // Which of several wrong phases is named is chance, here and there.
            #expect(
                plain.request.mapError(\.code.asError) == general.request.mapError(\.code.asError),
                "seed \(seed): \(text)")
        }
        print("\(read) damaged reports could be read")
        #expect(read > 100)
    }

    @Test func acknowledgementsAreWrittenAlike() throws {
        for message in [Acknowledged(), Acknowledged(sequence: 1), Acknowledged(sequence: 1 << 53)] {
            for id in [nil, 0, 1 << 53] {
                let general: any ControlMessage = message
                #expect(try MessageCodec.frame(message, requestID: id) == Self.generalFrame(general, id))
            }
        }
    }

    private static func generalFrame(_ message: some ControlMessage, _ id: Int?) throws -> Data {
        try MessageCodec.frame(message, requestID: id, limits: .standard)
    }
}

extension ControlError.Code {
    fileprivate var asError: ControlError { ControlError(self, "") }
}
