import ControlProtocol
import Foundation
import Testing

/// `moe-ctl run plot`.
@Suite struct CtlPlotTests {
    private func plot(_ arguments: [String], samples: CtlSamples = CtlSamples(now: CtlSamples.fixedMoment)) throws
        -> CtlProgram
    {
        let coordinator = try CtlStubCoordinator(samples.answer)
        defer { coordinator.stop() }
        return try CtlProgram(["run", "plot", "shakespeare", "--coordinator", coordinator.address] + arguments)
    }

    @Test(arguments: ["loss", "tokens", "balance", "phases"]) func picture(quantity: String) throws {
        let call = try plot(["--quantity", quantity, "-o", "-"])
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
        try expectGolden(call.output, "plot/\(quantity).svg")
        // Another reader takes it for XML, with a line for each curve.
        let file = FileManager.default.temporaryDirectory.appending(path: "plot-\(UUID().uuidString).svg")
        defer { try? FileManager.default.removeItem(at: file) }
        #expect(try plot(["--quantity", quantity, "--output", file.path]).output.isEmpty)
        #expect(try Data(contentsOf: file) == Data(call.output.utf8))
        let titles = try ShellCommand([
            "python3", "-c",
            "import sys, xml.dom.minidom as dom; "
                + "print(*(t.firstChild.data for t in dom.parse(sys.argv[1]).getElementsByTagName('title')), sep='; ')",
            file.path,
        ])
        let curves = [
            "loss": "loss", "tokens": "all ranks", "balance": "ranks' seconds with experts; experts' tokens; predicted",
            "phases": "attention; experts",
        ]
        #expect(titles.output == "\(curves[quantity] ?? "")\n")
        // Where plan 3 moved experts.
        #expect(call.output.contains(">plan 3</text>") && !call.output.contains(">plan 2</text>"))
    }

    /// All intervals, and the last word on steps that were done again.
    @Test func whatWasDoneAgainReplacesWhatWas() throws {
        let samples = CtlSamples(now: .now())
        func chart(_ intervals: [Interval]) throws -> String {
            let coordinator = try CtlStubCoordinator { request throws(ControlError) in
                guard case .listIntervals(let request) = request else { return try samples.answer(request) }
                let page = intervals.filter { $0.number > request.after ?? 0 }.prefix(7)
                return Intervals(
                    run: "shakespeare", intervals: Array(page), truncated: page.last?.number != intervals.last?.number)
            }
            defer { coordinator.stop() }
            let call = try CtlProgram([
                "run", "plot", "shakespeare", "--coordinator", coordinator.address, "-o", "-",
            ])
            #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
            return call.output
        }
        var again = samples.intervals
        again[25...] = ArraySlice(
            zip(again[25...], again[20...]).map { later, earlier in
                var interval = earlier
                (interval.number, interval.incarnation, interval.loss) = (later.number, 3, 2)
                return interval
            })
        let kept = Array(again.prefix(20) + again.suffix(15))
        #expect(try chart(again) == chart(kept))
        #expect(try chart(again) != chart(samples.intervals))
        // Losses that a worker may report, and nobody can draw.
        var odd = Array(samples.intervals.prefix(6))
        for (index, loss) in [1e308, -1e308, .leastNonzeroMagnitude, 2, 1, 0].enumerated() { odd[index].loss = loss }
        #expect(try chart(odd).contains("</svg>"))
    }

    @Test func nothingToDraw() throws {
        let samples = CtlSamples(now: .now())
        let coordinator = try CtlStubCoordinator { request throws(ControlError) in
            guard case .listIntervals = request else { return try samples.answer(request) }
            return Intervals(run: "shakespeare", intervals: [], truncated: false)
        }
        defer { coordinator.stop() }
        let call = try CtlProgram([
            "run", "plot", "shakespeare", "--coordinator", coordinator.address, "-o", "-", "--quantity", "phases",
        ])
        #expect(call.status == 0 && call.errors.contains("have reported nothing yet"), "\(call.errors)")
        #expect(call.output.hasSuffix("</svg>\n"))
    }

    @Test func whatCannotBeDrawn() throws {
        for (arguments, status, words) in [
            ([], 64, "--output"), (["-o", "-", "--quantity", "colour"], 64, "--quantity"),
            (["-o", "/nonexistent/a.svg"], 1, "/nonexistent/a.svg cannot be written"),
        ] as [([String], Int32, String)] {
            let call = try plot(arguments)
            #expect(call.status == status && call.errors.contains(words), "\(call.errors)")
            #expect(call.output.isEmpty)
        }
    }
}
