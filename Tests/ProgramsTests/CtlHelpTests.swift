import Testing

/// Every help page is as recorded.
@Suite struct CtlHelpTests {
    @Test(arguments: [
        [], ["data"], ["data", "prepare"], ["run"], ["run", "list"], ["run", "show"], ["placement"],
        ["placement", "show"], ["worker"], ["worker", "list"],
    ])
    func helpPage(command: [String]) throws {
        let page = try CtlProgram(command + ["--help"])
        #expect(page.status == 0)
        #expect(page.errors.isEmpty)
        try expectGolden(page.output, "help/" + (["moe-ctl"] + command).joined(separator: "-") + ".txt")
    }
}
