#!/usr/bin/env bash
# Runs the tool by whose name it is called.
case "$(basename "$0" .sh)" in
  kafka-topics) class=org.apache.kafka.tools.TopicCommand ;;
  kafka-configs) class=kafka.admin.ConfigCommand ;;
  kafka-consumer-groups) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
  kafka-console-consumer) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
  kafka-console-producer) class=org.apache.kafka.tools.ConsoleProducer ;;
  kafka-broker-api-versions) class=org.apache.kafka.tools.BrokerApiVersionsCommand ;;
  *) echo "$0: no such tool" >&2; exit 1 ;;
esac
# shellcheck disable=SC2086 # several words
exec java ${KAFKA_HEAP_OPTS:--Xmx256m} ${KAFKA_JVM_PERFORMANCE_OPTS:--XX:+UseG1GC} \
  -Dlog4j2.level=WARN -cp '/opt/kafka/libs/*' "$class" "$@"
